import type * as vscode from 'vscode';
import { Credential, type FoundCredential, labelOf } from '../credentials/credential.ts';

const key = 'sallyport.credential';

/** The one credential that the user gave to the editor. */
export class CredentialStore {
  private readonly secrets: vscode.SecretStorage;

  constructor(secrets: vscode.SecretStorage) {
    this.secrets = secrets;
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
