import type { CredentialSource } from '../credentials/source.ts';

const purposes: Record<CredentialSource['purpose'], string> = {
  model: 'Model, in the order of use',
  forge: 'Forge',
  identity: 'Author of commits',
};

/** The sources as a table for a terminal, without any value. */
export function credentialTable(sources: readonly CredentialSource[]): string {
  const lines: string[] = [];
  const width = Math.min(44, Math.max(0, ...sources.map(({ id }) => id.length)));
  for (const [purpose, title] of Object.entries(purposes)) {
    const rows = sources.filter((source) => source.purpose === purpose);
    if (rows.length === 0) continue;
    lines.push(`${lines.length === 0 ? '' : '\n'}${title}`);
    for (const { id, label, state, detail, mend } of rows) {
      lines.push(`  ${state.padEnd(8)}  ${id.padEnd(width)}  ${label}${detail === '' ? '' : `: ${detail}`}`);
      if (mend !== undefined) lines.push(`${' '.repeat(14 + width)}→ ${mend}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
