import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What one task may bring in, or has brought in, in all its bundles: bytes that they take in the store, and commits with a ref. */
export interface TaskUse {
  bytes: number;
  tips: number;
}

export const taskLimits: TaskUse = { bytes: 8 * 2 ** 30, tips: 50_000 };

/** What each task has brought in so far: a file for each. Only who attends to the task writes it. */
export class TaskUses {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async of(id: string): Promise<TaskUse> {
    const text = await readFile(join(this.folder, id), 'utf8').catch(() => '');
    const [bytes = '', tips = ''] = text.split(' ');
    return { bytes: Number.parseInt(bytes) || 0, tips: Number.parseInt(tips) || 0 };
  }

  async set(id: string, { bytes, tips }: TaskUse): Promise<void> {
    const path = join(this.folder, id);
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    await writeFile(`${path}.new`, `${bytes} ${tips}\n`);
    await rename(`${path}.new`, path);
  }

  async forget(id: string): Promise<void> {
    await rm(join(this.folder, id), { force: true });
  }
}

/** Throws why a task may not bring in so many commits more. */
export function checkUse(used: TaskUse, tips: number, limits: TaskUse): void {
  if (used.bytes >= limits.bytes)
    throw new Error(`the task has brought in ${used.bytes} bytes already, and no more are allowed`);
  if (used.tips + tips > limits.tips) throw new Error(`the task has made more than ${limits.tips} commits`);
}
