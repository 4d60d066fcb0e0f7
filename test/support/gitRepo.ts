import { createHash } from 'node:crypto';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateSync } from 'node:zlib';

/** A throw-away git repository with a configuration that is nobody's. */
export class GitRepo {
  readonly path: string;
  private readonly env: NodeJS.ProcessEnv;

  constructor(path: string, options: { bare?: boolean; init?: boolean } = {}) {
    this.path = path;
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_'));
    this.env = {
      ...Object.fromEntries(inherited),
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      // Nothing here lives long enough to be tidied, and to look for it costs a process with every commit.
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'maintenance.auto',
      GIT_CONFIG_VALUE_0: 'false',
    };
    if (options.init === false) return;
    const bare = options.bare === true;
    cpSync(emptyRepository(bare), bare ? path : join(path, '.git'), { recursive: true });
  }

  /** Runs git and gives its output without the last newline. */
  git(...args: string[]): string {
    return this.raw(args).toString().replace(/\n$/, '');
  }

  raw(args: string[], input?: Uint8Array | string, env: NodeJS.ProcessEnv = {}): Buffer {
    const options = { cwd: this.path, env: { ...this.env, ...env }, input, maxBuffer: 1 << 30 };
    return execFileSync('git', args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Runs git and gives its exit code. */
  code(...args: string[]): number | null {
    return spawnSync('git', args, { cwd: this.path, env: this.env }).status;
  }

  write(path: string, content: string | Uint8Array): void {
    const whole = join(this.path, path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, content);
  }

  commit(message: string): string {
    this.git('add', '--all');
    this.git('commit', '--quiet', '--allow-empty', '-m', message);
    return this.head();
  }

  /** The commit of HEAD: read where it lies, which is cheaper than a process, or else asked for. */
  private head(): string {
    const read = (name: string): string => readFileSync(join(this.path, '.git', name), 'utf8').trim();
    try {
      const head = read('HEAD');
      const [, ref] = /^ref: (.+)$/.exec(head) ?? [];
      return ref === undefined ? head : read(ref);
    } catch {
      return this.git('rev-parse', 'HEAD');
    }
  }

  /** Writes an object of any content, past all checks of git; gives its name. */
  object(type: 'blob' | 'tree' | 'commit', content: Uint8Array): string {
    const whole = Buffer.concat([Buffer.from(`${type} ${content.length}\0`), content]);
    const sha = createHash('sha1').update(whole).digest('hex');
    const folder = join(this.path, this.git('rev-parse', '--git-path', 'objects'), sha.slice(0, 2));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, sha.slice(2)), deflateSync(whole));
    return sha;
  }

  /** A tree of entries exactly as given. */
  tree(entries: readonly (readonly [mode: string, name: string | Uint8Array, sha: string])[]): string {
    const parts = entries.map(([mode, name, sha]) =>
      Buffer.concat([Buffer.from(`${mode} `), Buffer.from(name), Buffer.from([0]), Buffer.from(sha, 'hex')]),
    );
    return this.object('tree', Buffer.concat(parts));
  }

  commitOf(tree: string, parents: string[] = [], message = 'made by hand\n'): string {
    const who = 'Mallory <mallory@example.org> 1700000000 +0000';
    const lines = [
      `tree ${tree}`,
      ...parents.map((p) => `parent ${p}`),
      `author ${who}`,
      `committer ${who}`,
      '',
      message,
    ];
    return this.object('commit', Buffer.from(lines.join('\n')));
  }

  /** Paths (as latin1, so that every byte shows), modes and contents of a commit. */
  files(commit: string): Record<string, string> {
    const listed = this.raw(['ls-tree', '-r', '-z', commit]).toString('latin1').split('\0');
    const found: Record<string, string> = {};
    for (const entry of listed.filter((each) => each !== '')) {
      const [, head = '', path = ''] = /^([^\t]*)\t(.*)$/s.exec(entry) ?? [];
      const [mode = '', type = '', sha = ''] = head.split(' ');
      found[path] =
        `${mode} ${type === 'blob' ? this.raw(['cat-file', 'blob', sha]).toString('latin1') : sha}`;
    }
    return found;
  }
}

const empty = new Map<boolean, string>();

/** The git folder of a repository without a commit, as git makes it: once for all that are copied from it. */
function emptyRepository(bare: boolean): string {
  const known = empty.get(bare);
  if (known !== undefined && existsSync(known)) return known;
  const folder = temporaryFolder();
  process.once('exit', () => folder.dispose());
  const repo = new GitRepo(folder.path, { init: false });
  repo.git('init', '--quiet', '--initial-branch=main', '--template=', ...(bare ? ['--bare'] : []));
  const made = bare ? folder.path : join(folder.path, '.git');
  for (const name of ['hooks', 'info']) mkdirSync(join(made, name), { recursive: true });
  appendFileSync(join(made, 'config'), '[user]\n\tname = Ada Example\n\temail = ada@example.org\n');
  empty.set(bare, made);
  return made;
}

/** A new temporary folder, and how to be rid of it. */
export function temporaryFolder(): { path: string; dispose(): void } {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-test-'));
  return { path, dispose: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * Everything that can be seen of a folder: kind, mode, size, content and time of last change of every entry. Two equal
 * fingerprints mean that nothing in it was written. Of git's object files the time is left out: git renews it when it
 * would write an object that is there, also through the hard link of another repository.
 */
export function fingerprint(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (path: Buffer, name: string): void => {
    const info = lstatSync(path, { bigint: true });
    const content = info.isFile()
      ? createHash('sha256').update(readFileSync(path)).digest('hex')
      : info.isSymbolicLink()
        ? readlinkSync(path)
        : '';
    const isObject = info.isFile() && name.startsWith('/.git/objects/');
    found[name] = `${info.mode.toString(8)} ${isObject ? '' : info.mtimeNs} ${content}`;
    if (!info.isDirectory()) return;
    for (const entry of readdirSync(path, { encoding: 'buffer' })) {
      visit(Buffer.concat([path, Buffer.from('/'), entry]), `${name}/${entry.toString('latin1')}`);
    }
  };
  visit(Buffer.from(root), '');
  return found;
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

/** A byte stream of one array, in pieces of a size. */
export async function* pieces(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}
