import { safeLine, safeText } from '../../protocol/safeText.ts';
import type { DoctorCheck } from '../../runner/taskService.ts';

/** Characters of a finding that stand in the table; the whole of a longer one is below it. */
const cellLength = 90;

/** The findings of the doctor as a document: a table that can be read as it is, and below it what to do, worst first. */
export function doctorReport(checks: readonly DoctorCheck[]): string {
  const bad = checks.filter(({ ok }) => ok === false).length;
  const warnings = checks.filter(({ ok }) => ok === 'warning').length;
  const verdict =
    bad > 0
      ? `${bad} of ${checks.length} checks failed. Tasks cannot run yet.`
      : warnings > 0
        ? `Tasks can run. ${warnings} of ${checks.length} checks came with a warning.`
        : 'Everything is ready.';
  const rows = checks.map((check) => [markOf(check), cell(check.name), cell(check.detail)]);
  const worstFirst = [
    ...checks.filter(({ ok }) => ok === false),
    ...checks.filter(({ ok }) => ok === 'warning'),
    ...checks.filter(({ ok }) => ok === true),
  ];
  const sections = worstFirst
    .filter((check) => check.mend !== undefined || !isWhole(check))
    .map((check) =>
      [
        `### ${markOf(check)} ${safeLine(check.name)}`,
        ...(isWhole(check) ? [] : [indented(check.detail)]),
        ...(check.mend === undefined ? [] : [`**What to do:** ${safeText(check.mend)}`]),
      ].join('\n\n'),
    );
  const below =
    sections.length === 0
      ? ''
      : `\n## ${bad + warnings > 0 ? 'What to do' : 'Details'}\n\n${sections.join('\n\n')}\n`;
  return `# Sallyport Doctor\n\n${verdict}\n\n${table(['', 'Check', 'Found'], rows)}\n${below}`;
}

function markOf({ ok }: DoctorCheck): string {
  return ok === true ? '✓' : ok === 'warning' ? '!' : '✗';
}

function cell(text: string): string {
  return safeLine(text, cellLength).replaceAll('|', '\\|');
}

/** True when the table shows all of the finding. */
function isWhole({ detail }: DoctorCheck): boolean {
  return safeLine(detail, cellLength) === safeText(detail).trim();
}

/** As a block of code: nothing in it is markup. */
function indented(text: string): string {
  return safeText(text)
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}

function table(head: readonly string[], rows: readonly string[][]): string {
  const widths = head.map((title, at) =>
    Math.max(3, title.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((text, at) => text.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
