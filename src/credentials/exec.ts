import { execFile } from 'node:child_process';

export interface ExecOptions {
  env: Readonly<Record<string, string | undefined>>;
  /** Written to its standard input. */
  input?: string;
  /** Milliseconds after which it is ended. */
  timeoutMs: number;
  signal?: AbortSignal;
}

/** Runs a program to its end; rejects when it cannot be started or was ended, and with nothing of what it printed. */
export type Exec = (
  file: string,
  args: readonly string[],
  options: ExecOptions,
) => Promise<{ code: number; stdout: string }>;

const maxOutput = 1 << 20;

export const execProgram: Exec = (file, args, { env, input, timeoutMs, signal }) =>
  new Promise((resolve, reject) => {
    const child = execFile(
      file,
      [...args],
      { env, timeout: timeoutMs, maxBuffer: maxOutput, windowsHide: true, ...(signal && { signal }) },
      (error, stdout) => {
        if (error === null) resolve({ code: 0, stdout });
        else if (typeof error.code === 'number') resolve({ code: error.code, stdout });
        else reject(new ProgramFailed(file, typeof error.code === 'string' ? error.code : 'ended'));
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });

/** The error of Node holds the arguments and what the program printed; this one holds neither. */
class ProgramFailed extends Error {
  readonly code: string;

  constructor(file: string, code: string) {
    super(`${file} could not be run (${code})`);
    this.code = code;
  }
}
