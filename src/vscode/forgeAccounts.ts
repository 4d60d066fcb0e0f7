import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { execProgram } from '../credentials/exec.ts';
import { githubTokens, isToken } from '../credentials/forgeTokens.ts';
import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { ForgeToken, RemoteForge } from '../runner/publishing/taskPublishing.ts';

const Stored = z.object({ token: z.string(), user: z.optional(z.string()) });
type StoredToken = Pick<Account, 'token' | 'user'>;

const secretKey = (host: string): string => `sallyport.forge.${host}`;
const chosenKey = (host: string): string => `sallyport.forgeAccount.${host}`;
/** Hosts with a stored token, because a secret storage cannot be listed. */
const hostsKey = 'sallyport.forgeHosts';
const scopes = ['repo'];

type AccountKind = 'stored' | 'session' | 'env' | 'gh';

interface Account {
  kind: AccountKind;
  label: string;
  token: string;
  user?: string;
}

/**
 * With which account the user appears at a forge. Each is shown before its first use, and remembered for its host; a token goes
 * to the host that it is for and to no other.
 */
export class ForgeAccounts {
  private readonly secrets: vscode.SecretStorage;
  private readonly memory: vscode.Memento;

  constructor(secrets: vscode.SecretStorage, memory: vscode.Memento) {
    this.secrets = secrets;
    this.memory = memory;
  }

  /** The account that was confirmed for this forge, without a question; undefined when there is none, or it is gone. */
  async confirmed(forge: RemoteForge): Promise<ForgeToken | undefined> {
    const chosen = this.memory.get<unknown>(chosenKey(forge.host));
    if (typeof chosen !== 'string') return undefined;
    const account = (await this.found(forge)).find(({ kind }) => kind === chosen);
    return account && tokenOf(forge, account);
  }

  /** The same; else the user is shown what there is and chooses. Undefined when they leave. */
  async ask(forge: RemoteForge): Promise<ForgeToken | undefined> {
    const known = await this.confirmed(forge);
    if (known !== undefined) return known;
    const accounts = await this.found(forge);
    const provider = providerOf(forge);
    const items: (vscode.QuickPickItem & { run: () => Promise<Account | undefined> })[] = accounts.map(
      (account) => ({
        label: `$(${account.kind === 'stored' ? 'key' : 'account'}) ${safeLine(account.label, 100)}`,
        run: () => Promise.resolve(account),
      }),
    );
    if (provider !== undefined && !accounts.some(({ kind }) => kind === 'session'))
      items.push({
        label: `$(sign-in) Sign In to ${forge.name} with VS Code…`,
        run: async () =>
          sessionAccount(await vscode.authentication.getSession(provider, scopes, { createIfNone: true })),
      });
    items.push({
      label: '$(key) Enter a Token…',
      detail: 'Kept in the secret storage of the editor.',
      run: async () => {
        const entered = await this.enter(forge.host, forge.kind);
        return entered && { kind: 'stored', label: 'The token that was entered', ...entered };
      },
    });
    const picked = await vscode.window.showQuickPick(items, {
      title: `Account at ${forge.host}`,
      placeHolder: `Sent to ${forge.host} and nowhere else. It is remembered for it.`,
      ignoreFocusOut: true,
    });
    const account = await picked?.run();
    if (account === undefined) return undefined;
    await this.memory.update(chosenKey(forge.host), account.kind);
    return tokenOf(forge, account);
  }

  /** Another account is chosen the next time. */
  async forget(host: string): Promise<void> {
    await this.memory.update(chosenKey(host), undefined);
  }

  /** Asks for a token and keeps it; undefined when the user leaves. */
  async enter(host: string, kind?: string): Promise<{ token: string; user?: string } | undefined> {
    let user: string | undefined;
    if (kind === 'bitbucket') {
      user = await vscode.window.showInputBox({
        title: `Token for ${host}`,
        prompt:
          'The e-mail address of the account, for an API token; nothing for an access token of a repository.',
        ignoreFocusOut: true,
        validateInput: (text) =>
          /^[\x21-\x7e]{0,200}$/.test(text.trim()) ? undefined : 'This is no address.',
      });
      if (user === undefined) return undefined;
    }
    const token = await vscode.window.showInputBox({
      title: `Token for ${host}`,
      prompt: `Needs the right to read and write pull requests. It is sent to ${host} and nowhere else.`,
      password: true,
      ignoreFocusOut: true,
      validateInput: (text) =>
        text.trim() === '' || isToken(text.trim()) ? undefined : 'This cannot be a token.',
    });
    if (token === undefined || token.trim() === '') return undefined;
    return await this.set(host, token.trim(), user?.trim());
  }

  async set(host: string, token: string, user?: string): Promise<{ token: string; user?: string }> {
    if (!isToken(token))
      throw new SallyportError('invalid_credential', 'This cannot be a token.', 'Copy it once more, whole.');
    const kept = { token, ...(user === undefined || user === '' ? {} : { user }) };
    await this.secrets.store(secretKey(host), JSON.stringify(kept));
    await this.memory.update(hostsKey, [...new Set([...this.hosts(), host])]);
    await this.memory.update(chosenKey(host), 'stored');
    return kept;
  }

  /** Those for which a token was entered. */
  hosts(): string[] {
    const known = z.array(z.string()).safeParse(this.memory.get<unknown>(hostsKey));
    return known.success ? known.data : [];
  }

  async remove(host: string): Promise<void> {
    await this.secrets.delete(secretKey(host));
    await this.memory.update(
      hostsKey,
      this.hosts().filter((other) => other !== host),
    );
    await this.forget(host);
  }

  private async found(forge: RemoteForge): Promise<Account[]> {
    const accounts: Account[] = [];
    const stored = await this.stored(forge.host);
    if (stored !== undefined)
      accounts.push({ kind: 'stored', label: 'The token that was entered', ...stored });
    const provider = providerOf(forge);
    if (provider !== undefined) {
      const session = await vscode.authentication.getSession(provider, scopes, { silent: true }).then(
        (one) => one,
        () => undefined,
      );
      const account = sessionAccount(session);
      if (account !== undefined) accounts.push(account);
    }
    if (forge.kind === 'github') {
      const tokens = await githubTokens(forge.host, { env: process.env, exec: execProgram });
      accounts.push(...tokens.map(({ id, label, token }) => ({ kind: id, label, token })));
    }
    return accounts;
  }

  private async stored(host: string): Promise<StoredToken | undefined> {
    const text = await this.secrets.get(secretKey(host));
    if (text === undefined) return undefined;
    try {
      const { token, user } = Stored.parse(JSON.parse(text));
      return { token, ...(user === undefined ? {} : { user }) };
    } catch {
      return undefined;
    }
  }
}

function tokenOf({ host }: RemoteForge, { token, user }: Account): ForgeToken {
  return { host, token, ...(user === undefined ? {} : { user }) };
}

/** VS Code's own accounts know one host each. */
function providerOf({ kind, host }: RemoteForge): string | undefined {
  if (kind !== 'github') return undefined;
  if (host === 'github.com') return 'github';
  const uri = vscode.workspace.getConfiguration('github-enterprise').get<unknown>('uri');
  if (typeof uri !== 'string' || !URL.canParse(uri)) return undefined;
  return new URL(uri).host === host ? 'github-enterprise' : undefined;
}

function sessionAccount(session: vscode.AuthenticationSession | undefined): Account | undefined {
  return (
    session && {
      kind: 'session',
      label: `${session.account.label}, as VS Code knows it`,
      token: session.accessToken,
    }
  );
}
