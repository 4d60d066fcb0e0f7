import * as vscode from 'vscode';
import { Credential, type FoundCredential, labelOf } from '../credentials/credential.ts';

const key = 'sallyport.credential';

/** The one credential that the user gave to the editor. */
export class CredentialStore implements vscode.Disposable {
  private readonly secrets: vscode.SecretStorage;
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly watching: vscode.Disposable;
  /** It was set or removed, here or in another window. */
  readonly onDidChange = this.changed.event;

  constructor(secrets: vscode.SecretStorage) {
    this.secrets = secrets;
    this.watching = secrets.onDidChange((event) => {
      if (event.key === key) this.changed.fire();
    });
  }

  dispose(): void {
    this.watching.dispose();
    this.changed.dispose();
  }

  /** Undefined when there is none, or when what is stored cannot be read any more. */
  async get(): Promise<FoundCredential | undefined> {
    const stored = await this.secrets.get(key);
    if (stored === undefined) return undefined;
    try {
      const credential = Credential.parse(JSON.parse(stored));
      return { credential, label: labelOf(credential, 'the secret storage') };
    } catch {
      return undefined;
    }
  }

  async set(credential: Credential): Promise<void> {
    await this.secrets.store(key, JSON.stringify(credential));
  }

  /** True when there was one. */
  async remove(): Promise<boolean> {
    const had = (await this.secrets.get(key)) !== undefined;
    await this.secrets.delete(key);
    return had;
  }
}
