import { createHash } from 'node:crypto';
import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';

/** A runner that the user connected. */
const RunnerRecord = z.object({
  id: z.string().check(z.regex(/^[0-9a-f]{16}$/)),
  /** Base address, with a slash at its end. */
  url: z.string().check(z.refine((text) => URL.canParse(text))),
  /** For people. */
  name: z.string().check(z.minLength(1), z.maxLength(100)),
});
export type RunnerRecord = z.infer<typeof RunnerRecord>;

/** A token goes with the address that it was given for, and to no other. */
const Secret = z.object({ url: z.string(), token: z.string().check(z.minLength(1)) });

const listKey = 'sallyport.runners';
const secretPrefix = 'sallyport.runner.';
/** Another window hears of a secret a little before it hears of the list, in milliseconds. */
const lagMs = 1500;

/** The same for the same address, so that a runner that is connected again is the one that it was. */
export function runnerId(url: URL): string {
  return createHash('sha256').update(url.href).digest('hex').slice(0, 16);
}

/** The runners of this user: their names and addresses in the editor's own state, their tokens in its secret storage. */
export class RunnerStore implements vscode.Disposable {
  private readonly state: vscode.Memento;
  private readonly secrets: vscode.SecretStorage;
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly watching: vscode.Disposable;
  private lag: NodeJS.Timeout | undefined;
  /** A runner was connected, disconnected, named, or got another token; here or in another window. */
  readonly onDidChange = this.changed.event;

  constructor(state: vscode.Memento, secrets: vscode.SecretStorage) {
    this.state = state;
    this.secrets = secrets;
    this.watching = secrets.onDidChange(({ key }) => {
      if (!key.startsWith(secretPrefix)) return;
      this.changed.fire();
      clearTimeout(this.lag);
      this.lag = setTimeout(() => this.changed.fire(), lagMs);
    });
  }

  /** In the order in which they were connected. */
  list(): RunnerRecord[] {
    const stored = this.state.get<unknown>(listKey, []);
    const records = Array.isArray(stored) ? stored : [];
    return records.flatMap((one) => {
      const read = RunnerRecord.safeParse(one);
      return read.success ? [read.data] : [];
    });
  }

  /** Throws `unauthorized` when there is none for this address. */
  async token({ id, url, name }: RunnerRecord): Promise<string> {
    const stored = await this.secrets.get(secretPrefix + id);
    try {
      const secret = Secret.parse(JSON.parse(stored ?? ''));
      if (secret.url === url) return secret.token;
    } catch {
      // Said below.
    }
    throw new SallyportError(
      'unauthorized',
      `You are not signed in to ${name}.`,
      'Sign in to the runner again.',
    );
  }

  async set(record: RunnerRecord, token: string): Promise<void> {
    const list = this.list();
    const at = list.findIndex(({ id }) => id === record.id);
    if (at < 0) list.push(record);
    else list[at] = record;
    await this.state.update(listKey, list);
    await this.secrets.store(secretPrefix + record.id, JSON.stringify({ url: record.url, token }));
    this.changed.fire();
  }

  async rename(id: string, name: string): Promise<void> {
    const list = this.list().map((record) => (record.id === id ? { ...record, name } : record));
    await this.state.update(listKey, list);
    this.changed.fire();
  }

  async remove(id: string): Promise<void> {
    await this.state.update(
      listKey,
      this.list().filter((record) => record.id !== id),
    );
    await this.secrets.delete(secretPrefix + id);
    this.changed.fire();
  }

  dispose(): void {
    clearTimeout(this.lag);
    this.watching.dispose();
    this.changed.dispose();
  }
}
