import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod/mini';
import { isErrno, SallyportError } from '../base/errors.ts';
import { EgressRuleText } from '../protocol/egress.ts';
import { claim } from './ownership.ts';
import type { WorkspaceSettings } from './taskService.ts';

const Settings = z.object({
  egressRules: z.array(EgressRuleText),
  credential: z.optional(z.string()),
  acceptedSecrets: z.array(z.string()),
});

/** How long another process may take to write, in milliseconds. */
const patience = 5000;
const betweenTries = 25;

/** Settings of each repository, in the data folder, one file each; readable for the user only. */
export class WorkspaceStore {
  private readonly folder: string;
  private writing: Promise<unknown> = Promise.resolve();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** What is set; nothing for a repository that nobody has set anything for. Throws `invalid_input` for a damaged file. */
  async read(repositoryId: string): Promise<WorkspaceSettings> {
    const path = this.path(repositoryId);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (thrown) {
      if (isErrno(thrown, 'ENOENT')) return { egressRules: [], acceptedSecrets: [] };
      throw thrown;
    }
    try {
      const { credential, ...rest } = Settings.parse(JSON.parse(text));
      return { ...rest, ...(credential === undefined ? {} : { credential }) };
    } catch (thrown) {
      throw new SallyportError(
        'invalid_input',
        `The settings of this workspace in ${path} cannot be read.`,
        'Correct the file, or delete it to begin anew; it holds the rules and findings that were accepted for the workspace.',
        { cause: thrown },
      );
    }
  }

  /** Changes what is set. Changes of other windows at the same time are kept. */
  change(
    repositoryId: string,
    change: (settings: WorkspaceSettings) => WorkspaceSettings,
  ): Promise<WorkspaceSettings> {
    const result = this.writing.then(() => this.changeNow(repositoryId, change));
    this.writing = result.catch(() => undefined);
    return result;
  }

  private async changeNow(
    repositoryId: string,
    change: (settings: WorkspaceSettings) => WorkspaceSettings,
  ): Promise<WorkspaceSettings> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const path = this.path(repositoryId);
    const release = await this.lock(`${path}.lock`);
    try {
      const changed = change(await this.read(repositoryId));
      const checked = Settings.safeParse(changed);
      if (!checked.success)
        throw new SallyportError(
          'invalid_input',
          `The settings are not what a workspace can have (${checked.error.issues[0]?.message ?? 'malformed'}).`,
          'Correct them and try again.',
        );
      const aside = `${path}.${randomBytes(6).toString('hex')}`;
      try {
        await writeFile(aside, `${JSON.stringify(checked.data, undefined, 2)}\n`, { mode: 0o600 });
        await rename(aside, path);
      } finally {
        await rm(aside, { force: true });
      }
      return changed;
    } finally {
      await release();
    }
  }

  private async lock(path: string): Promise<() => Promise<void>> {
    const end = Date.now() + patience;
    for (;;) {
      const release = await claim(path);
      if (release !== undefined) return release;
      if (Date.now() >= end)
        throw new SallyportError(
          'task_busy',
          'Another window is changing the settings of this workspace.',
          'Try again in a moment.',
        );
      await delay(betweenTries);
    }
  }

  private path(repositoryId: string): string {
    return join(this.folder, `${repositoryId}.json`);
  }
}
