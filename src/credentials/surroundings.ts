import type { Environment } from './discover.ts';
import type { Exec } from './exec.ts';

/** What credentials are looked for in, so that everything here is a function of its arguments. */
export interface Surroundings {
  env: Environment;
  home: string;
  platform: NodeJS.Platform;
  exec: Exec;
  /** Milliseconds since the epoch. */
  now: () => number;
  fetch: typeof fetch;
  /** Certificates (PEM) that this machine trusts on top of the public ones. */
  authorities: () => readonly string[];
}

/** The value without surrounding white space, or undefined where there is none. */
export function nonEmpty(text: string | undefined): string | undefined {
  const trimmed = text?.trim();
  return trimmed === '' ? undefined : trimmed;
}
