import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../../base/errors.ts';
import type { FileId, PartId, ReviewFile } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { blob } from '../diff.ts';
import { git, type GitOptions } from '../process.ts';
import type { Quarantine } from '../quarantine.ts';
import { BlobReader } from './blobReader.ts';
import { withHunks } from './content.ts';
import { readParts, type PartsDiff, type PartsFile, type PartsOptions } from './readParts.ts';

const maxBlobBytes = 17 << 20;

/**
 * Writes the tree that has exactly these parts of what differs between two commits or trees; gives its name. No ref names it:
 * who needs it longer than `quarantine.use` lasts keeps it with `keepForReview`. Throws `invalid_input` for a part that is
 * not there, or one whose `needs` are not chosen.
 */
export async function composeTree(
  quarantine: Quarantine,
  from: string,
  to: string,
  chosen: ReadonlySet<PartId>,
  options: PartsOptions = {},
): Promise<string> {
  return await quarantine.use(options.signal, async () =>
    composeParts(quarantine, await readParts(quarantine, from, to, options), chosen, options.signal),
  );
}

/** As `composeTree`, of a diff that is read already. */
export async function composeParts(
  quarantine: Quarantine,
  diff: PartsDiff,
  chosen: ReadonlySet<PartId>,
  signal?: AbortSignal,
): Promise<string> {
  checkChosen(diff, chosen);
  return await quarantine.use(signal, async () => {
    const folder = await quarantine.temporaryFolder();
    try {
      const changed = diff.files.filter(({ file }) => file.parts.some(({ id }) => chosen.has(id)));
      const blobs = await writeContents(quarantine, folder, changed, chosen, signal);
      const lines: Uint8Array[] = [];
      // What goes makes place for what comes.
      for (const each of changed) {
        const gone = goneFrom(each, chosen);
        if (gone !== undefined) lines.push(Buffer.from(`0 ${'0'.repeat(diff.from.length)}\t`), gone, nul);
      }
      for (const each of changed) {
        const entry = entryOf(each, chosen, blobs);
        if (entry !== undefined) lines.push(Buffer.from(`${entry.mode} ${entry.oid}\t`), entry.path, nul);
      }
      const index: GitOptions = {
        ...quarantine.options(signal),
        bounded: true,
        env: { GIT_INDEX_FILE: join(folder, 'index') },
      };
      await git(['read-tree', `${diff.from}^{tree}`], index);
      if (lines.length > 0)
        await git(['update-index', '-z', '--index-info'], { ...index, input: Buffer.concat(lines) });
      return (await git(['write-tree'], index)).stdout.toString().trim();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

/**
 * The content of one file with some of its parts; undefined where there is none then. Of a link it is where it points, of a
 * submodule what git shows for it. Fails with `git_failed` when it is longer than `maxBytes`.
 */
export async function composeFile(
  quarantine: Quarantine,
  file: ReviewFile,
  taken: (id: PartId) => boolean,
  options: { maxBytes?: number; reader?: BlobReader | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Uint8Array | undefined> {
  const { maxBytes = 64 << 20, reader, signal } = options;
  const content = async (oid: string): Promise<Uint8Array> =>
    reader === undefined
      ? await blob(quarantine, oid, maxBytes, signal)
      : await reader.read(oid, maxBytes, signal);
  const read = async (mode: string, oid: string): Promise<Uint8Array | undefined> => {
    if (/^0+$/.test(oid)) return undefined;
    if (mode === '160000') return Buffer.from(`Subproject commit ${oid}\n`);
    return await content(oid);
  };
  const whole = wholeSide(file, taken);
  if (whole === 'old') return await read(file.oldMode, file.oldBlob);
  if (whole === 'new') return await read(file.newMode, file.newBlob);
  const [older, newer] = await Promise.all([content(file.oldBlob), content(file.newBlob)]);
  return withHunks(older, newer, file.parts, taken);
}

/** On which side a file's content is; undefined when it has some hunks of both. */
function wholeSide(file: ReviewFile, taken: (id: PartId) => boolean): 'old' | 'new' | undefined {
  const contents = file.parts.filter(({ kind }) => kind !== 'rename' && kind !== 'mode');
  const count = contents.filter(({ id }) => taken(id)).length;
  if (count === contents.length) return 'new';
  return count === 0 ? 'old' : undefined;
}

function checkChosen(diff: PartsDiff, chosen: ReadonlySet<PartId>): void {
  let known = 0;
  for (const { file } of diff.files) {
    for (const part of file.parts) {
      if (!chosen.has(part.id)) continue;
      known += 1;
      if (part.needs.every((id) => chosen.has(id))) continue;
      throw new SallyportError(
        'invalid_input',
        `A change of ${safeLine(file.path)} was chosen without another that has to make place for it.`,
        'Choose what stood at its place before as well.',
      );
    }
  }
  if (known === chosen.size) return;
  throw new SallyportError(
    'invalid_input',
    'A change was chosen that is not there any more.',
    'Look at the changes again: the task or an edit has changed them.',
  );
}

/** The path that a file is taken away from. */
function goneFrom(
  { file, rawPath, rawFrom }: PartsFile,
  chosen: ReadonlySet<PartId>,
): Uint8Array | undefined {
  if (file.status === 'deleted') return rawPath;
  const renamed = file.parts.some(({ kind, id }) => kind === 'rename' && chosen.has(id));
  return renamed ? rawFrom : undefined;
}

function entryOf(
  { file, rawPath, rawFrom }: PartsFile,
  chosen: ReadonlySet<PartId>,
  blobs: ReadonlyMap<FileId, string>,
): { mode: string; oid: string; path: Uint8Array } | undefined {
  if (file.status === 'deleted') return undefined;
  const has = (kind: string): boolean => file.parts.some((part) => part.kind === kind && chosen.has(part.id));
  const whole = wholeSide(file, (id) => chosen.has(id));
  const modeIsPart = file.parts.some(({ kind }) => kind === 'mode');
  const newMode = modeIsPart ? has('mode') : whole === 'new';
  return {
    mode: newMode ? file.newMode : file.oldMode,
    oid: blobs.get(file.id) ?? (whole === 'new' ? file.newBlob : file.oldBlob),
    path: rawFrom === undefined || has('rename') ? rawPath : rawFrom,
  };
}

/** Writes the contents that are of both sides. */
async function writeContents(
  quarantine: Quarantine,
  folder: string,
  files: readonly PartsFile[],
  chosen: ReadonlySet<PartId>,
  signal: AbortSignal | undefined,
): Promise<Map<FileId, string>> {
  const mixed = files.filter(({ file }) => wholeSide(file, (id) => chosen.has(id)) === undefined);
  if (mixed.length === 0) return new Map();
  const contents = join(folder, 'contents');
  await mkdir(contents);
  const reader = new BlobReader(quarantine);
  try {
    for (const [index, { file }] of mixed.entries()) {
      const options = { maxBytes: maxBlobBytes, reader, signal };
      const content = await composeFile(quarantine, file, (id) => chosen.has(id), options);
      await writeFile(join(contents, String(index)), content ?? '');
    }
  } finally {
    reader.dispose();
  }
  const { stdout } = await git(['hash-object', '-w', '--no-filters', '--stdin-paths'], {
    ...quarantine.options(signal),
    cwd: contents,
    input: mixed.map((_, index) => `${index}\n`).join(''),
  });
  const oids = stdout.toString().trim().split('\n');
  return new Map(mixed.map(({ file }, index) => [file.id, oids[index] ?? '']));
}

const nul = Buffer.from([0]);
