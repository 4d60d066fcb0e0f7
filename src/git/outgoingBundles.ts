import { Sha } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { Snapshot } from '../protocol/task.ts';
import { encodeBundleHeader } from './bundle.ts';
import { checked } from './checked.ts';
import { git, gitStream, type GitOptions } from './process.ts';
import { objectKinds } from './receive.ts';

/** The ref under which a snapshot's bundle names its commit. */
export const snapshotRef = 'refs/sallyport/snapshot';

/** As `Quarantine.snapshotBundle`. */
export async function* wholeBundle(
  options: GitOptions,
  snapshot: Pick<Snapshot, 'commit'> & { uncommitted?: string | undefined },
): ByteStream {
  const commit = checked(Sha, snapshot.commit, 'object name');
  const more = snapshot.uncommitted === undefined ? [] : [checked(Sha, snapshot.uncommitted, 'object name')];
  yield encodeBundleHeader({ prerequisites: [], refs: [{ sha: commit, name: snapshotRef }] });
  const config = [['pack.compression', '1']] as const;
  yield* pack({ ...options, config }, [commit, ...more], ['--window=0']);
}

/** As `Quarantine.thinSnapshotBundle`. */
export async function* thinBundle(
  options: GitOptions,
  snapshot: Pick<Snapshot, 'commit'>,
  have: readonly string[],
): ByteStream {
  const commit = checked(Sha, snapshot.commit, 'object name');
  const prerequisites = have.map((sha) => checked(Sha, sha, 'object name'));
  yield encodeBundleHeader({ prerequisites, refs: [{ sha: commit, name: snapshotRef }] });
  yield* pack(options, [commit, ...prerequisites.map((sha) => `^${sha}`)], ['--thin']);
}

/** A bundle of these refs, without what those of `have` reach that are here. */
export async function* bundleOfRefs(
  options: GitOptions,
  tips: readonly { sha: string; ref: string }[],
  have: readonly string[],
): ByteStream {
  for (const sha of have) checked(Sha, sha, 'object name');
  const kinds = await objectKinds(have, options);
  const known = have.filter((sha) => kinds.get(sha) === 'commit');
  const revisions = [...tips.map((tip) => tip.sha), ...known.map((sha) => `^${sha}`)];
  const { stdout } = await git(['rev-list', '--boundary', '--stdin'], {
    ...options,
    input: lines(revisions),
  });
  const listed = stdout.toString().split('\n');
  // A tip that the receiver has already is no boundary of anything, but the receiver must have it all the same.
  const fresh = new Set(listed);
  const prerequisites = new Set([
    ...listed.filter((line) => line.startsWith('-')).map((line) => line.slice(1)),
    ...known.filter((sha) => tips.some((tip) => tip.sha === sha && !fresh.has(sha))),
  ]);
  const refs = tips.map(({ sha, ref }) => ({ sha, name: ref }));
  yield encodeBundleHeader({ prerequisites: [...prerequisites], refs });
  yield* pack(options, revisions, ['--thin']);
}

async function* pack(options: GitOptions, revisions: readonly string[], args: readonly string[]): ByteStream {
  const packing = gitStream(['pack-objects', '--revs', '--stdout', '--delta-base-offset', '-q', ...args], {
    ...options,
    input: lines(revisions),
  });
  yield* packing.stdout;
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join('');
}
