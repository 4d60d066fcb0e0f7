import { createHash } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { encodeBundleHeader } from '../../git/bundle.ts';
import { snapshotRef } from '../../git/outgoingBundles.ts';
import type { TaskSource } from '../../protocol/runnerApi.ts';
import type { User } from '../principal.ts';
import type { ServerTasks } from '../tasks/serverTasks.ts';

/** What a prompt without a repository works in: one commit without a file, always the same. */

const repository = { id: 'without-repository', name: 'without a repository' };
const kinds = { commit: 1, tree: 2 } as const;
type Kind = keyof typeof kinds;

function hashOf(kind: Kind, content: Buffer): string {
  return createHash('sha1').update(`${kind} ${content.length}\0`).update(content).digest('hex');
}

const tree = Buffer.alloc(0);
const author = 'Sallyport <sallyport@localhost> 0 +0000';
const commit = Buffer.from(
  `tree ${hashOf('tree', tree)}\nauthor ${author}\ncommitter ${author}\n\nAn empty place to work in\n`,
);
export const emptyCommit = hashOf('commit', commit);

/** A git bundle of the commit. */
export function emptyBundle(): Buffer {
  const head = Buffer.alloc(12);
  head.write('PACK');
  head.writeUInt32BE(2, 4);
  head.writeUInt32BE(2, 8);
  const pack = Buffer.concat([head, packed('commit', commit), packed('tree', tree)]);
  const sum = createHash('sha1').update(pack).digest();
  const header = encodeBundleHeader({ prerequisites: [], refs: [{ sha: emptyCommit, name: snapshotRef }] });
  return Buffer.concat([header, pack, sum]);
}

/** An object in a pack: its kind and length, seven bits a byte but for the first, and its content. */
function packed(kind: Kind, content: Buffer): Buffer {
  const bytes: number[] = [];
  let byte = (kinds[kind] << 4) | (content.length & 15);
  for (let rest = content.length >> 4; rest > 0; rest >>= 7) {
    bytes.push(byte | 0x80);
    byte = rest & 127;
  }
  bytes.push(byte);
  return Buffer.concat([Buffer.from(bytes), deflateSync(content)]);
}

const bringing = new WeakMap<ServerTasks, Map<string, Promise<void>>>();

/** Where a task of this user begins that has no repository; its commit is brought in once. */
export async function emptySource(tasks: ServerTasks, user: User): Promise<TaskSource> {
  const all = bringing.get(tasks) ?? new Map<string, Promise<void>>();
  bringing.set(tasks, all);
  const under = all.get(user.id) ?? bring(tasks, user).finally(() => all.delete(user.id));
  all.set(user.id, under);
  await under;
  return {
    kind: 'snapshot',
    repository,
    snapshot: { mode: 'head', commit: emptyCommit, head: emptyCommit },
  };
}

async function bring(tasks: ServerTasks, user: User): Promise<void> {
  if ((await tasks.knownCommits(user, repository.id, [emptyCommit])).length > 0) return;
  const bundle = emptyBundle();
  const sha256 = createHash('sha256').update(bundle).digest('hex');
  const upload = await tasks.beginUpload(user, {
    repository,
    commit: emptyCommit,
    bytes: bundle.length,
    sha256,
  });
  if (upload.complete) return;
  const rest = bundle.subarray(upload.offset);
  await tasks.continueUpload(
    user,
    upload.id,
    upload.offset,
    (async function* () {
      yield await Promise.resolve(rest);
    })(),
  );
}
