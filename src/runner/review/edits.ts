import { SallyportError } from '../../base/errors.ts';
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
import { mergeEdit } from './carriedEdits.ts';
import { unsettled } from './decisions.ts';
import { checkEditable, checkLength, meaningOf } from './editing.ts';
import { isFile } from './movedFile.ts';
import { describeRejected } from './rejectedTexts.ts';
import type { ReviewLog } from './reviewLog.ts';
import { decided, fileOf, type ReviewSource } from './source.ts';
import type { EditConflict, EditInConflict } from './taskReview.ts';

/** Longest content that can be shown in a merge, in bytes. */
const maxBytes = 64 << 20;
/** Of a file that the task has deleted. */
const absent = '0'.repeat(40);

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
    const shown = fileOf(await this.source.diff(scope, state), file);
    const by = shown.edit?.by ?? file;
    if (content === undefined) return await this.log.append((now) => takeBack(now, by));
    const own = await this.source.diff(scope);
    const task = own.files.find(({ id }) => id === file);
    const inConflict = shown.edit?.kind === 'conflict';
    if (task === undefined || !isFile(task.newBlob)) {
      // The user's alone: the task has deleted it.
      if (inConflict) throw unsettled(shown.path);
      checkEditable(shown, content);
      return await this.keep(scope, own.to, { shown, original: absent }, content);
    }
    const meaning = await meaningOf(this.source.reader, task, shown, content);
    if (meaning.kind === 'own') {
      if (inConflict) throw unsettled(shown.path);
      return await this.keep(scope, own.to, { shown, original: task.newBlob }, content);
    }
    const basis = meaning.of === 'task' ? task : shown;
    const missing = new Set(meaning.missing);
    const texts = await describeRejected(this.source.reader, { ...own, files: [basis] }, missing);
    return await this.log.append((now) => {
      const hunks = basis.parts.filter(({ kind }) => kind === 'hunk').map(({ id }) => id);
      const rejected = hunks.filter((id) => missing.has(id) && now.verdicts[id] !== 'rejected');
      const wanted = hunks.filter((id) => !missing.has(id) && now.verdicts[id] === 'rejected');
      return [
        ...(meaning.of === 'task' && shown.edit !== undefined && !inConflict ? takeBack(now, by) : []),
        ...decided(rejected, 'rejected', texts),
        ...decided(wanted, null),
      ];
    });
  }

  /** Throws `not_found` where the edit and the task's version go together. */
  async conflict(scope: ReviewScope, file: FileId): Promise<EditConflict> {
    const state = await this.log.state();
    const diff = await this.source.diff(scope, state);
    const { path, edit, newBlob, newMode } = fileOf(diff, file);
    const mine = edit?.kind === 'conflict' ? state.edits[edit.by] : undefined;
    if (edit === undefined || mine === undefined) {
      throw new SallyportError(
        'not_found',
        'Your edit of this file is not in conflict with what the task made of it.',
        'Look at the file again.',
      );
    }
    const read = (oid: string): Promise<Uint8Array> => this.source.reader.read(oid, maxBytes);
    const base = isFile(mine.original) ? await read(mine.original) : undefined;
    const current = await read(mine.content);
    const incoming =
      edit.why === 'deleted'
        ? undefined
        : newMode === '160000'
          ? Buffer.from(`Subproject commit ${newBlob}\n`)
          : await read(newBlob);
    const { quarantine } = this.source.task;
    const marked =
      edit.why === 'lines' && incoming !== undefined
        ? (await mergeEdit(quarantine, base, current, incoming, undefined)).text
        : undefined;
    const original = edit.why === 'deleted' ? absent : newBlob;
    const told = { path, base, current, incoming, marked };
    return { ...told, file, original, commit: diff.to, by: edit.by, content: mine.content };
  }

  async settle(told: EditInConflict, content: Uint8Array | undefined): Promise<ReviewState> {
    const { file, path, original, commit, by } = told;
    if (content !== undefined) checkLength(content);
    const written = content === undefined ? undefined : await this.write(content);
    const oid = written === original ? undefined : written;
    return await this.log.append((now) => {
      if (now.edits[by]?.content !== told.content) {
        throw new SallyportError(
          'conflict',
          'Your edit of this file is another one by now.',
          'Look at the file again, and merge what it is now.',
        );
      }
      const away = oid === undefined || by !== file ? takeBack(now, by) : [];
      if (oid === undefined) return away;
      return [...away, { type: 'edited', file, path: path.slice(0, 4096), original, content: oid, commit }];
    });
  }

  /** Keeps a content as the user's edit of what the task had at a commit. */
  private async keep(
    scope: ReviewScope,
    commit: string,
    { shown, original }: { shown: ReviewFile; original: string },
    content: Uint8Array,
  ): Promise<ReviewState> {
    const { id, path } = shown;
    const by = shown.edit?.by ?? id;
    const oid = await this.write(content);
    const edit = { path: path.slice(0, 4096), original, content: oid, commit };
    const { edits } = await this.log.state();
    const { files } = await this.source.diff(scope, { edits: { ...without(edits, by), [id]: edit } });
    const file = files.find((one) => one.id === id);
    return await this.log.append((now) => {
      // What the user wrote, they want: also where it is what they rejected before.
      const wanted = (file?.parts ?? []).filter((part) => now.verdicts[part.id] === 'rejected');
      const known = now.edits[id];
      const same = known?.content === oid && known.original === original;
      return [
        ...(by === id ? [] : takeBack(now, by)),
        ...(same ? [] : [{ type: 'edited' as const, file: id, ...edit }]),
        ...decided(
          wanted.map((part) => part.id),
          null,
        ),
      ];
    });
  }

  private async write(content: Uint8Array): Promise<string> {
    const { quarantine, state } = this.source.task;
    return await writeForReview(quarantine, state().spec.id, content);
  }
}

function takeBack({ edits }: ReviewState, file: FileId): ReviewBody[] {
  const edit = edits[file];
  if (edit === undefined) return [];
  return [{ type: 'edited', file, path: edit.path, original: edit.original, content: null }];
}

function without(edits: ReviewState['edits'], file: FileId): ReviewState['edits'] {
  return Object.fromEntries(Object.entries(edits).filter(([id]) => id !== file));
}
