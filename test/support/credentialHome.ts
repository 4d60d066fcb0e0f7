import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Exec, execProgram } from '../../src/credentials/exec.ts';
import type { Surroundings } from '../../src/credentials/surroundings.ts';

/** A home folder of its own, with the files that a test puts there. */
export class CredentialHome {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(files: Record<string, string> = {}): Promise<CredentialHome> {
    const home = new CredentialHome(await mkdtemp(join(tmpdir(), 'sallyport-credentials-')));
    for (const [name, text] of Object.entries(files)) await home.write(name, text);
    return home;
  }

  async write(name: string, text: string): Promise<string> {
    const path = join(this.path, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text, { mode: 0o600 });
    return path;
  }

  around(changes: Partial<Surroundings> = {}): Surroundings {
    return {
      env: {},
      home: this.path,
      platform: 'linux',
      exec: noPrograms,
      now: Date.now,
      fetch: noNetwork,
      authorities: () => [],
      ...changes,
    };
  }

  remove(): Promise<void> {
    return rm(this.path, { recursive: true, force: true });
  }
}

/** A machine on which no program is installed. */
export const noPrograms: Exec = (file, _args, options) => execProgram(join('/nowhere', file), [], options);

export const noNetwork: typeof fetch = () =>
  Promise.reject(new Error('A test without network asked for it.'));

/** Everything that can be read of a failure: message, mend, stack, causes, and fields. */
export function allTextOf(thrown: unknown): string {
  const seen = new Set<unknown>();
  const texts: string[] = [];
  const walk = (value: unknown): void => {
    if (typeof value === 'string') texts.push(value);
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    for (const key of Reflect.ownKeys(value)) {
      texts.push(String(key));
      walk(Reflect.get(value, key));
    }
  };
  walk(thrown);
  return texts.join('\n');
}
