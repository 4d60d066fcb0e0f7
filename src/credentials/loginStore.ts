import { createHash } from 'node:crypto';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { parseJson, prepareReplacement, readPrivate, type Replacement } from './privateFile.ts';
import { nonEmpty, type Surroundings } from './surroundings.ts';

/** What the Claude CLI keeps of a login. Fields that are not named here are kept as they are. */
const Oauth = z.looseObject({
  accessToken: z.string().check(z.regex(/^[\x21-\x7e]{8,4096}$/)),
  refreshToken: z.nullish(z.string().check(z.regex(/^[\x21-\x7e]{8,4096}$/))),
  /** Milliseconds since the epoch. */
  expiresAt: z.nullish(z.number()),
  scopes: z.nullish(z.array(z.string())),
  subscriptionType: z.nullish(z.string()),
  clientId: z.nullish(z.string()),
});
export type Oauth = z.infer<typeof Oauth>;

const Login = z.looseObject({ claudeAiOauth: z.optional(z.nullable(Oauth)) });
export type Login = z.infer<typeof Login>;

export type LoginText = { login: Login } | { absent: true } | { unusable: string };

/** Where the Claude CLI keeps its login: a file, or an item of the macOS keychain. */
export interface LoginStore {
  /** For people. */
  place: string;
  read(): Promise<LoginText>;
  /** Proves that a new login can be written, before one exists. The caller holds the lock. */
  prepare(): Promise<Replacement>;
}

/** The CLI's folder: CLAUDE_SECURESTORAGE_CONFIG_DIR, CLAUDE_CONFIG_DIR, else ~/.claude. */
export function loginFolder({ env, home }: Surroundings): string {
  const own = env['CLAUDE_SECURESTORAGE_CONFIG_DIR'] ?? env['CLAUDE_CONFIG_DIR'];
  return (nonEmpty(own) ?? join(home, '.claude')).normalize('NFC');
}

/** A file that makes no sense is read once more after this, in milliseconds. */
const againMs = 50;

export function fileStore(around: Surroundings): LoginStore {
  const path = join(loginFolder(around), '.credentials.json');
  const place = tilde(path, around.home);
  return {
    place,
    read: async () => {
      const read = async (): Promise<LoginText> => {
        const found = await readPrivate(path);
        return 'text' in found
          ? parse(found.text)
          : 'absent' in found
            ? found
            : { unusable: found.unreadable };
      };
      const first = await read();
      if (!('unusable' in first)) return first;
      // It may have been read while somebody who replaces no file, but writes into it, was at it.
      await new Promise((resolve) => setTimeout(resolve, againMs));
      return await read();
    },
    prepare: async () => {
      try {
        return await prepareReplacement(path);
      } catch {
        throw new SallyportError(
          'auth_expired',
          `The Claude login cannot be renewed, because ${place} cannot be replaced.`,
          'See that you may write to its folder and that the disk has room, or run `claude` and log in again.',
        );
      }
    },
  };
}

/** `security` quits with this when there is no such item. */
const noSuchItem = 44;
/** Longest line that `security -i` reads, in bytes, with some room. */
const longestLine = 4032;
const securityMs = 10_000;

/** The keychain item of the CLI on macOS, through the system's own program, whose items ask nobody for permission. */
export function keychainStore(around: Surroundings): LoginStore {
  const { env, exec } = around;
  const service = keychainService(around);
  const account = /^[a-zA-Z0-9._-]+$/.test(env['USER'] ?? '') ? (env['USER'] ?? '') : 'claude-code-user';
  const security = (args: string[], input?: string): ReturnType<typeof exec> =>
    exec('security', args, { env, timeoutMs: securityMs, ...(input === undefined ? {} : { input }) });

  async function raw(): Promise<string | undefined> {
    const { code, stdout } = await security(['find-generic-password', '-a', account, '-w', '-s', service]);
    if (code === noSuchItem) return undefined;
    if (code !== 0) throw new Error('security failed');
    const text = stdout.trim();
    return /^(?:[0-9a-f]{2})+$/i.test(text) ? Buffer.from(text, 'hex').toString('utf8') : text;
  }

  async function write(text: string): Promise<void> {
    const hex = Buffer.from(text, 'utf8').toString('hex');
    const line = `add-generic-password -U -a "${account}" -s "${service}" -X "${hex}"\n`;
    // Over stdin, because other users of this machine see arguments. Only what does not fit goes as an argument, as
    // the CLI itself does it: a login that was renewed and not kept is lost.
    const { code } =
      line.length <= longestLine
        ? await security(['-i'], line)
        : await security(['add-generic-password', '-U', '-a', account, '-s', service, '-X', hex]);
    if (code !== 0 || (await raw()) !== text) throw unwritable();
  }

  const unwritable = (): SallyportError =>
    new SallyportError(
      'auth_expired',
      'The Claude login cannot be renewed, because its item in the macOS keychain cannot be written.',
      'Unlock the keychain, or run `claude` and log in again.',
    );

  return {
    place: 'the macOS keychain',
    read: async () => {
      try {
        const text = await raw();
        return text === undefined ? { absent: true } : parse(text);
      } catch {
        return { unusable: 'the keychain is locked or does not answer' };
      }
    },
    prepare: async () => {
      // What is there is written once more: what fails now fails before the old login is worth nothing.
      const text = await raw().catch(() => undefined);
      if (text === undefined) throw unwritable();
      await write(text).catch(() => {
        throw unwritable();
      });
      return { commit: write, discard: () => Promise.resolve() };
    },
  };
}

/** The name of the CLI's item; another folder than the usual one has another item. */
function keychainService(around: Surroundings): string {
  const { env } = around;
  const own = env['CLAUDE_SECURESTORAGE_CONFIG_DIR'];
  const usual = own === undefined ? nonEmpty(env['CLAUDE_CONFIG_DIR']) === undefined : own === '';
  if (usual) return 'Claude Code-credentials';
  return `Claude Code-credentials-${createHash('sha256').update(loginFolder(around)).digest('hex').slice(0, 8)}`;
}

function parse(text: string): LoginText {
  const json = parseJson(text);
  if (json === undefined) return { unusable: 'it is no JSON' };
  const login = Login.safeParse(json);
  if (!login.success) return { unusable: 'it does not have the form of a Claude login' };
  return login.data.claudeAiOauth == null ? { absent: true } : { login: login.data };
}

/** A path for people, with the home folder as `~`. */
export function tilde(path: string, home: string): string {
  return path.startsWith(`${home}/`) ? `~${path.slice(home.length)}` : path;
}
