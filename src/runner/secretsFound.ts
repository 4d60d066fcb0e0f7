import { SallyportError } from '../base/errors.ts';
import type { SecretFinding } from '../git/secretScan.ts';

/** Likely keys are in what the sandbox would get, and nobody has decided about them. */
export class SecretsFound extends SallyportError {
  /** As of SallyportError: two bundles in one process know each other's. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof SallyportError && value.code === 'secrets_found' && 'findings' in value;
  }

  readonly findings: readonly SecretFinding[];
  /** How many more there are than `findings` lists. */
  readonly more: number;

  constructor(findings: readonly SecretFinding[], more: number) {
    const count = findings.length + more;
    super(
      'secrets_found',
      `${count === 1 ? 'A likely key is' : `${count.toLocaleString('en')} likely keys are`} in what the sandbox would get: ${listOf(findings)}.`,
      'Start from the last commit only, take them out of the files, or say that they may be sent.',
    );
    this.findings = findings;
    this.more = more;
  }
}

function listOf(findings: readonly SecretFinding[]): string {
  const shown = findings
    .slice(0, 3)
    .map(({ kind, path, line }) => `${kind} in ${line === 0 ? path : `${path}:${line}`}`);
  return shown.join(', ') + (findings.length > 3 ? ' and others' : '');
}
