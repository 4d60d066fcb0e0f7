import { composeFile } from '../../git/parts/composeTree.ts';
import { writeForReview } from '../../git/parts/keep.ts';
import type {
  FileId,
  PartId,
  ReviewBody,
  ReviewFile,
  ReviewScope,
  ReviewState,
} from '../../protocol/review.ts';
import { meaningOf } from './editing.ts';
import { describeRejected } from './rejectedTexts.ts';
import type { ReviewLog } from './reviewLog.ts';
import { decided, fileOf, type ReviewSource } from './source.ts';

/** Contents of files as the user wants them. */
export class Edits {
  private readonly source: ReviewSource;
  private readonly log: ReviewLog;

  constructor(source: ReviewSource, log: ReviewLog) {
    this.source = source;
    this.log = log;
  }

  async content(scope: ReviewScope, file: FileId): Promise<Uint8Array> {
    const state = await this.log.state();
    const found = fileOf(await this.source.diff(scope, state), file);
    const wanted = (id: PartId): boolean => state.verdicts[id] !== 'rejected';
    // What is taken away has no content.
    return (
      (await composeFile(this.source.task.quarantine, found, wanted, { reader: this.source.reader })) ??
      new Uint8Array()
    );
  }

  async edit(scope: ReviewScope, file: FileId, content: Uint8Array | undefined): Promise<ReviewState> {
    const state = await this.log.state();
    const own = await this.source.diff(scope);
    const task = fileOf(own, file);
    if (content === undefined) return await this.log.append((now) => takeBack(now, task));
    const shown = fileOf(await this.source.diff(scope, state), file);
    const meaning = await meaningOf(this.source.reader, task, shown, content);
    if (meaning.kind === 'own') return await this.keep(scope, task, content);
    const basis = meaning.of === 'task' ? task : shown;
    const missing = new Set(meaning.missing);
    const texts = await describeRejected(this.source.reader, { ...own, files: [basis] }, missing);
    return await this.log.append((now) => {
      const hunks = basis.parts.filter(({ kind }) => kind === 'hunk').map(({ id }) => id);
      const rejected = hunks.filter((id) => missing.has(id) && now.verdicts[id] !== 'rejected');
      const wanted = hunks.filter((id) => !missing.has(id) && now.verdicts[id] === 'rejected');
      return [
        ...(meaning.of === 'task' ? takeBack(now, task) : []),
        ...decided(rejected, 'rejected', texts),
        ...decided(wanted, null),
      ];
    });
  }

  private async keep(
    scope: ReviewScope,
    { id, path, newBlob }: ReviewFile,
    content: Uint8Array,
  ): Promise<ReviewState> {
    const { quarantine, state } = this.source.task;
    const oid = await writeForReview(quarantine, state().spec.id, content);
    const edit = { path: path.slice(0, 4096), original: newBlob, content: oid };
    const { edits } = await this.log.state();
    const { files } = await this.source.diff(scope, { edits: { ...edits, [id]: edit } });
    const file = files.find((one) => one.id === id);
    return await this.log.append(({ verdicts, edits: known }) => {
      // What the user wrote, they want: also where it is what they rejected before.
      const wanted = (file?.parts ?? []).filter((part) => verdicts[part.id] === 'rejected');
      const same = known[id]?.content === oid && known[id].original === newBlob;
      return [
        ...(same ? [] : [{ type: 'edited' as const, file: id, ...edit }]),
        ...decided(
          wanted.map((part) => part.id),
          null,
        ),
      ];
    });
  }
}

function takeBack({ edits }: ReviewState, { id, path, newBlob }: ReviewFile): ReviewBody[] {
  if (edits[id] === undefined) return [];
  return [{ type: 'edited', file: id, path: path.slice(0, 4096), original: newBlob, content: null }];
}
