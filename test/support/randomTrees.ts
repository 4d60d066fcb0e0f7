import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';

/** Trees as plain data, written past git, so that what git and Sallyport make of them can be compared with something else. */

export interface ModelFile {
  mode: string;
  /** As latin1, so that every byte shows; of a submodule the name of its commit. */
  content: string;
}

/** By path, as latin1. */
export type ModelTree = ReadonlyMap<string, ModelFile>;

/** Writes a tree as loose objects; gives its name. */
export function writeTree(objects: string, tree: ModelTree): string {
  interface Folder {
    files: Map<string, ModelFile>;
    folders: Map<string, Folder>;
  }
  const root: Folder = { files: new Map(), folders: new Map() };
  for (const [path, file] of tree) {
    const parts = path.split('/');
    const name = parts.pop() ?? '';
    let folder = root;
    for (const part of parts) {
      const next = folder.folders.get(part) ?? { files: new Map(), folders: new Map() };
      folder.folders.set(part, next);
      folder = next;
    }
    folder.files.set(name, file);
  }
  const write = (folder: Folder): string => {
    const entries = [
      ...[...folder.files].map(([name, { mode, content }]) => ({
        key: name,
        head: `${mode} ${name}`,
        oid: mode === '160000' ? content : writeObject(objects, 'blob', Buffer.from(content, 'latin1')),
      })),
      ...[...folder.folders].map(([name, below]) => ({
        key: `${name}/`,
        head: `40000 ${name}`,
        oid: write(below),
      })),
    ].sort((a, b) => Buffer.compare(Buffer.from(a.key, 'latin1'), Buffer.from(b.key, 'latin1')));
    const bytes = entries.map(({ head, oid }) =>
      Buffer.concat([Buffer.from(`${head}\0`, 'latin1'), Buffer.from(oid, 'hex')]),
    );
    return writeObject(objects, 'tree', Buffer.concat(bytes));
  };
  return write(root);
}

export function writeObject(objects: string, type: 'blob' | 'tree', content: Uint8Array): string {
  const whole = Buffer.concat([Buffer.from(`${type} ${content.length}\0`), content]);
  const oid = createHash('sha1').update(whole).digest('hex');
  const folder = join(objects, oid.slice(0, 2));
  const path = join(folder, oid.slice(2));
  if (existsSync(path)) return oid;
  mkdirSync(folder, { recursive: true });
  writeFileSync(path, deflateSync(whole, { level: 1 }));
  return oid;
}

const names = [
  'a',
  'b',
  'a/b',
  'a/b/c',
  'b/a',
  'b/a/d',
  'c/x y',
  'c/\xff\xfe',
  'c/\xc3\xa9',
  'd\nd',
  'd\t"e"\\',
  'package.json',
  '.vscode/settings.json',
  'z/1',
  'z/2',
  'z',
];
const lines = [
  'one',
  'two',
  'three',
  '',
  'f\xfcnf',
  'a\0b',
  '+plus',
  '-minus',
  '@@ -1 +1 @@',
  '\\ No newline',
  'x',
];
const path = fc.constantFrom(...names);
const line = fc.tuple(
  fc.oneof(
    { weight: 40, arbitrary: fc.constantFrom(...lines.filter((each) => !each.includes('\0'))) },
    { weight: 1, arbitrary: fc.constantFrom(...lines) },
  ),
  fc.oneof({ weight: 5, arbitrary: fc.constant('\n') }, { weight: 1, arbitrary: fc.constant('\r\n') }),
);
/** Text with every kind of end, now and then binary. */
export const content = fc.tuple(fc.array(line, { maxLength: 40 }), fc.boolean()).map(([all, ends]) => {
  const text = all.map(([words, end]) => words + end).join('');
  return ends ? text : text.replace(/\r?\n$/, '');
});
const oid = fc.constantFrom('1'.repeat(40), '2'.repeat(40));
const file: fc.Arbitrary<ModelFile> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ mode: fc.constantFrom('100644', '100755'), content }) },
  { weight: 1, arbitrary: fc.record({ mode: fc.constant('120000'), content: path }) },
  { weight: 1, arbitrary: fc.record({ mode: fc.constant('160000'), content: oid }) },
);

/** Puts a file into a tree, unless a file is in its way or it in the way of others. */
function put(tree: Map<string, ModelFile>, name: string, value: ModelFile): void {
  const collides = [...tree.keys()].some(
    (other) => other.startsWith(`${name}/`) || name.startsWith(`${other}/`),
  );
  if (!collides) tree.set(name, value);
}

/** Changes some lines, here and there. */
function editText(text: string, places: readonly number[], word: string): string {
  const all = text.split('\n');
  for (const place of places) {
    const at = place % (all.length + 1);
    if (place % 3 === 0) all.splice(at, 1);
    else if (place % 3 === 1) all.splice(at, 0, word);
    else if (at < all.length) all[at] = word;
  }
  return all.join('\n');
}

const change = fc.record({
  kind: fc.constantFrom(
    'keep',
    'delete',
    'edit',
    'edit',
    'edit',
    'rename',
    'renameEdit',
    'mode',
    'replace',
    'ends',
  ),
  to: path,
  places: fc.array(fc.nat(200), { minLength: 1, maxLength: 5 }),
  word: fc.constantFrom(...lines),
  file,
});

/** Two trees, the second of which somebody made of the first. */
export const twoTrees: fc.Arbitrary<{ from: ModelTree; to: ModelTree }> = fc
  .record({
    start: fc.array(fc.tuple(path, file), { minLength: 1, maxLength: 10 }),
    changes: fc.array(change, { minLength: 10, maxLength: 10 }),
    added: fc.array(fc.tuple(path, file), { maxLength: 3 }),
  })
  .map(({ start, changes, added }) => {
    const from = new Map<string, ModelFile>();
    for (const [name, value] of start) put(from, name, value);
    const to = new Map(from);
    for (const [index, [name, old]] of [...from].entries()) {
      const what = changes[index];
      if (what === undefined || what.kind === 'keep') continue;
      to.delete(name);
      const isText = old.mode.startsWith('100');
      const edited = isText ? { ...old, content: editText(old.content, what.places, what.word) } : old;
      if (what.kind === 'edit') put(to, name, edited);
      if (what.kind === 'rename') put(to, what.to, old);
      if (what.kind === 'renameEdit') put(to, what.to, edited);
      if (what.kind === 'replace') put(to, name, what.file);
      if (what.kind === 'mode')
        put(to, name, isText ? { ...edited, mode: old.mode === '100644' ? '100755' : '100644' } : old);
      if (what.kind === 'ends')
        put(to, name, isText ? { ...old, content: old.content.replaceAll('\n', '\r\n') } : old);
    }
    for (const [name, value] of added) put(to, name, value);
    return { from, to };
  });
