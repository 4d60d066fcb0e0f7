import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { concat } from '../base/lines.ts';
import { SallyportError } from '../base/errors.ts';
import { git } from '../git/process.ts';
import { paths } from '../protocol/control.ts';
import { startOf, type TaskSpec } from '../protocol/task.ts';

/** Longest header of a bundle, in bytes: a line for each prerequisite and ref. */
const maxHeader = 1 << 20;

/**
 * Makes the private clone in an empty folder: the bundle's pack, the branch at the snapshot's commit, the files, the
 * author's identity. Resolves to the number of files. Fails with a SallyportError (`disk_full`, `git_failed`, …).
 */
export async function prepareWorkspace(
  folder: string,
  spec: TaskSpec,
  bundle: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<number> {
  const commit = startOf(spec);
  const options = { cwd: folder, signal };
  const format = commit.length === 64 ? 'sha256' : 'sha1';
  await git(
    ['init', '--quiet', '--template=', `--object-format=${format}`, `--initial-branch=${spec.branch}`],
    options,
  );
  await addConfig(folder, [
    ['user', 'name', spec.identity.name],
    ['user', 'email', spec.identity.email],
    // The files are written once, by us: what their inodes say beyond size and time only costs.
    ['core', 'checkStat', 'minimal'],
    ['core', 'trustctime', 'false'],
  ]);
  await git(['index-pack', '--stdin', '--fix-thin'], { ...options, input: packOf(bundle) });
  await excludeMounts(folder, spec);
  // Not `checkout -b`, which takes seconds on a large tree.
  const ref = `refs/heads/${spec.branch}`;
  await git(['update-ref', '-m', 'sallyport: start', ref, commit], options);
  await git(['symbolic-ref', 'HEAD', ref], options);
  const uncommitted = spec.from?.uncommitted;
  await git(['read-tree', '-m', '-u', uncommitted ?? commit], options);
  // The files stay, and what differs from the commit is uncommitted.
  if (uncommitted !== undefined) await git(['read-tree', '-m', commit], options);
  return await countFiles(join(folder, '.git', 'index'));
}

/** HEAD and the branch that it is on. `start` stands in for a HEAD that is none. */
export async function headOf(folder: string, start: string): Promise<{ commit: string; branch?: string }> {
  const options = { cwd: folder, okCodes: [0, 1, 128] };
  const [head, name] = await Promise.all([
    git(['rev-parse', '--quiet', '--verify', 'HEAD^{commit}'], options),
    git(['symbolic-ref', '--quiet', '--short', 'HEAD'], options),
  ]);
  const branch = name.stdout.toString('utf8').trim();
  return {
    commit: head.code === 0 ? head.stdout.toString('latin1').trim() : start,
    ...(name.code === 0 && branch !== '' ? { branch } : {}),
  };
}

/**
 * Takes in a commit that was made outside of what is uncommitted here: HEAD moves to it where it stands on its parent, and the
 * files stay.
 */
export async function adoptCommit(
  folder: string,
  commit: string,
  bundle: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  const options = { cwd: folder, signal };
  await git(['index-pack', '--stdin', '--fix-thin'], { ...options, input: packOf(bundle) });
  const head = await headOf(folder, commit);
  const parent = await git(['rev-parse', '--verify', '--end-of-options', `${commit}^`], options);
  if (head.commit !== parent.stdout.toString('latin1').trim()) return;
  await git(['update-ref', '-m', 'sallyport: what was left', 'HEAD', commit, head.commit], options);
  await git(['read-tree', '-m', commit], options);
}

/** What there is in a workspace that was made before. */
export async function lookAtWorkspace(
  folder: string,
  start: string,
): Promise<{ commit: string; files: number }> {
  const { commit } = await headOf(folder, start);
  return { commit, files: await countFiles(join(folder, '.git', 'index')).catch(() => 0) };
}

/** What is mounted in the workspace is no work of the agent's: it never counts as uncommitted. */
async function excludeMounts(folder: string, { isolation }: TaskSpec): Promise<void> {
  const patterns = (isolation?.mounts ?? [])
    .filter(({ target }) => target.startsWith(`${paths.workspace}/`))
    .map(
      ({ target }) =>
        `/${target.slice(paths.workspace.length + 1).replaceAll(/[\\*?[\]!# ]/g, String.raw`\$&`)}\n`,
    );
  if (patterns.length === 0) return;
  const info = join(folder, '.git', 'info');
  await mkdir(info, { recursive: true });
  await writeFile(join(info, 'exclude'), patterns.join(''));
}

/** Written by hand: one process for each value would cost more than the whole rest. */
async function addConfig(
  folder: string,
  values: [section: string, name: string, value: string][],
): Promise<void> {
  const file = await open(join(folder, '.git', 'config'), 'a');
  try {
    await file.write(
      values.map(([section, name, value]) => `[${section}]\n\t${name} = ${quote(value)}\n`).join(''),
    );
  } finally {
    await file.close();
  }
}

/** A value in git's configuration syntax. Control characters, which a name has no use for, become spaces. */
function quote(value: string): string {
  const clean = value.replaceAll(/[\x00-\x1f\x7f]/g, ' ');
  return `"${clean.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

/** The pack behind a bundle's header, which ends with an empty line. */
async function* packOf(bundle: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let held: Uint8Array[] = [];
  let inPack = false;
  for await (const chunk of bundle) {
    if (inPack) {
      yield chunk;
      continue;
    }
    const bytes = concat([...held, chunk]);
    if (bytes.length > 16 && !isBundle(bytes)) throw notABundle();
    const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf('\n\n');
    if (end === -1) {
      if (bytes.length > maxHeader) throw notABundle();
      held = [bytes];
      continue;
    }
    const header = new TextDecoder().decode(bytes.subarray(0, end));
    if (!isBundle(bytes) || /\n@filter/.test(header)) throw notABundle();
    inPack = true;
    held = [];
    yield bytes.subarray(end + 2);
  }
  if (!inPack) throw notABundle();
}

function isBundle(bytes: Uint8Array): boolean {
  return /^# v[23] git bundle\n/.test(new TextDecoder().decode(bytes.subarray(0, 16)));
}

function notABundle(): SallyportError {
  return new SallyportError(
    'git_failed',
    'What came as the snapshot is no git bundle.',
    'Start the task again; report this if it happens twice.',
  );
}

/** The index says in its header how many entries it has. */
async function countFiles(index: string): Promise<number> {
  const file = await open(index);
  try {
    const { buffer } = await file.read(Buffer.alloc(12), 0, 12, 0);
    return buffer.readUInt32BE(8);
  } finally {
    await file.close();
  }
}
