import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

type Pick = (below: number) => number;

/** Files of every kind that git knows, and names that are easily got wrong. */
const names = [
  'a',
  'b.txt',
  'folder/c',
  'folder/deeper/d',
  'ü-ñ',
  'with space/and "quote"',
  'line\nbreak',
  ' leading',
  'tab\there',
  "it's",
  'x',
  'back\\slash',
];
/** Not UTF-8. */
const raw = Buffer.from([0x72, 0x61, 0x77, 0xff, 0xfe]);

function pathIn(root: string, name: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name)]);
}

function content(pick: Pick): Buffer {
  const count = 5 + pick(30);
  const kind = pick(6);
  const end = kind === 1 ? '\r\n' : '\n';
  const lines = Array.from({ length: count }, (_, index) => `line ${index} ${pick(1000)}`).join(end);
  if (kind === 2) return Buffer.from([0, 1, 2, pick(256), 255]);
  if (kind === 3) return Buffer.concat([Buffer.from(`${lines}\n`), Buffer.from([0xff, 0xfe, 10])]);
  return Buffer.from(kind === 4 ? lines : `${lines}${end}`);
}

/** Changes a few lines of a text, so that two who do so often change others. */
function edited(old: Buffer, pick: Pick): Buffer {
  if (old.includes(0) || old.length === 0) return content(pick);
  const lines = old.toString('latin1').split('\n');
  for (let times = 1 + pick(2); times > 0; times--) {
    const at = pick(lines.length);
    const end = lines[at]?.endsWith('\r') === true ? '\r' : '';
    const what = pick(3);
    if (what === 0) lines.splice(at, 1);
    else if (what === 1) lines.splice(at, 0, `more ${pick(1000)}${end}`);
    else lines[at] = `changed ${pick(1000)}${end}`;
  }
  return Buffer.from(lines.join('\n'), 'latin1');
}

/** Fills an empty folder. */
export function fill(root: string, pick: Pick): void {
  for (const name of [...names, raw]) {
    if (pick(5) === 0) continue;
    write(pathIn(root, name), content(pick), pick(4) === 0);
  }
  symlinkSync('a', join(root, 'link'));
}

/** Edits, deletes, renames and adds; changes modes and kinds. */
export function stir(root: string, pick: Pick, times: number): void {
  for (; times > 0; times--) {
    const name = pick(12) === 0 ? raw : pick(12) === 0 ? 'link' : (names[pick(names.length)] ?? 'a');
    const path = pathIn(root, name);
    const old = existsSync(path) && lstatSync(path).isFile() ? readFileSync(path) : undefined;
    switch (pick(8)) {
      case 0:
        rmSync(path, { force: true });
        break;
      case 1:
        if (old !== undefined) chmodSync(path, lstatSync(path).mode ^ 0o111);
        break;
      case 2:
        rmSync(path, { force: true });
        mkdirSync(dirname(path.toString('latin1')), { recursive: true });
        if (!/[^\x20-\x7e]/.test(path.toString('latin1'))) symlinkSync(`target ${pick(3)}`, path);
        break;
      case 3: {
        const to = pathIn(root, `renamed/${pick(4)}`);
        mkdirSync(join(root, 'renamed'), { recursive: true });
        if (old !== undefined) renameSync(path, to);
        break;
      }
      default: {
        const before = old ?? content(pick);
        rmSync(path, { force: true });
        write(path, edited(before, pick), false);
      }
    }
  }
}

function write(path: Buffer, bytes: Buffer, isProgram: boolean): void {
  mkdirSync(path.subarray(0, path.lastIndexOf('/')), { recursive: true });
  writeFileSync(path, bytes);
  if (isProgram) chmodSync(path, 0o755);
}

/** Kind, whether it is a program, and content of every file; folders only where they are empty. */
export function filesOf(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (path: Buffer, name: string): void => {
    const info = lstatSync(path);
    if (info.isSymbolicLink()) found[name] = `link ${readlinkSync(path, { encoding: 'latin1' })}`;
    else if (info.isFile())
      found[name] =
        `${(info.mode & 0o100) === 0 ? 'file' : 'program'} ${readFileSync(path).toString('latin1')}`;
    else {
      const entries = readdirSync(path, { encoding: 'buffer' }).filter(
        (each) => name !== '' || each.toString() !== '.git',
      );
      if (entries.length === 0 && name !== '') found[name] = 'empty folder';
      for (const entry of entries)
        visit(
          Buffer.concat([path, Buffer.from('/'), entry]),
          `${name === '' ? '' : `${name}/`}${entry.toString('latin1')}`,
        );
    }
  };
  visit(Buffer.from(root), '');
  return found;
}
