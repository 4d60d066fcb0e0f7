import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, posix, sep } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DatabaseSync } from 'node:sqlite';
import { createGunzip, createGzip } from 'node:zlib';
import { extract, pack, type Pack } from 'tar-stream';
import { asSallyportError, isErrno, SallyportError } from '../../base/errors.ts';
import { openStore } from '../store.ts';

const storeName = 'runner.sqlite';
/** At the end of a backup: how many files it has, and the hash over all of them. A backup that was cut off has none. */
const sealName = 'sallyport-backup.json';
/** What belongs to a running process, or can be made anew. */
const left =
  /^(server(\..*)?|runner\.sqlite.*|uploads(\/.*)?|tasks\/[^/]+\/(owner(\..*)?|asks(\/.*)?)|.*\.lock)$/;

/**
 * Writes the whole data folder into one compressed file, also while a server works on it. What refers is read before what is
 * referred to: the store, the logs, the refs of the quarantines, and their objects last. Resolves to the number of files.
 * The file holds the key of the folder: whoever has it has everything. Throws `not_found`, `disk_full`.
 */
export async function backUp(dataFolder: string, file: string): Promise<number> {
  const aside = `${file}.part`;
  const storeCopy = `${file}.sqlite`;
  await rm(storeCopy, { force: true });
  try {
    copyStore(join(dataFolder, storeName), storeCopy);
    const archive = pack();
    const written = pipeline(archive, createGzip(), createWriteStream(aside, { mode: 0o600 }));
    const filled = fill(archive, dataFolder, storeCopy);
    // A disk that is full ends the writing, and with it the reading.
    written.catch((thrown: unknown) => archive.destroy(thrown instanceof Error ? thrown : undefined));
    const [count] = await Promise.all([filled, written]);
    await rename(aside, file);
    return count;
  } catch (thrown) {
    if (isErrno(thrown, 'ENOSPC')) {
      throw new SallyportError(
        'disk_full',
        `The disk is too full for ${file}.`,
        'Free some space, or name another disk.',
      );
    }
    throw thrown;
  } finally {
    await rm(aside, { force: true });
    await rm(storeCopy, { force: true });
  }
}

function copyStore(from: string, to: string): void {
  let store: DatabaseSync;
  try {
    store = new DatabaseSync(from, { readOnly: true });
  } catch (cause) {
    throw new SallyportError(
      'not_found',
      `${from} cannot be opened: there is no runner's data.`,
      'Set SALLYPORT_HOME to the data folder of a runner.',
      { cause },
    );
  }
  try {
    store.prepare('VACUUM INTO ?').run(to);
  } finally {
    store.close();
  }
}

async function fill(archive: Pack, dataFolder: string, storeCopy: string): Promise<number> {
  const names = (await readdir(dataFolder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(dataFolder.length + 1)
        .split(sep)
        .join('/'),
    )
    .filter((name) => !left.test(name));
  const ordered = [...names].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const hash = createHash('sha256');
  let count = 0;
  if (await add(archive, storeName, storeCopy, hash)) count++;
  for (const name of ordered) if (await add(archive, name, join(dataFolder, name), hash)) count++;
  const seal = JSON.stringify({ files: count, sha256: hash.digest('hex') });
  archive.entry({ name: sealName, mode: 0o600 }, seal);
  archive.finalize();
  return count;
}

function rank(name: string): number {
  if (name.startsWith('tasks/')) return 0;
  if (!name.startsWith('quarantine/')) return 1;
  return name.includes('/objects/') ? 3 : 2;
}

/** False for a file that has gone meanwhile. */
async function add(archive: Pack, name: string, path: string, hash: Hash): Promise<boolean> {
  const file = await open(path).catch((thrown: unknown) => {
    if (isErrno(thrown, 'ENOENT')) return undefined;
    throw thrown;
  });
  if (file === undefined) return false;
  try {
    // A log grows while it is read: it is taken as long as it was.
    const { size, mode, mtime } = await file.stat();
    const entry = archive.entry({ name, size, mode: mode & 0o700, mtime });
    hash.update(`${name}\0${size}\0`);
    const source =
      size === 0 ? Readable.from([]) : file.createReadStream({ start: 0, end: size - 1, autoClose: false });
    await pipeline(source, hashing(hash), entry);
    return true;
  } finally {
    await file.close();
  }
}

function hashing(hash: Hash): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
}

/**
 * Brings a backup into a folder that is not there or empty. Checks that it is whole before anything stands in its place;
 * brings the store up to date. Throws `conflict`, `not_found`, `invalid_input`.
 */
export async function restore(file: string, dataFolder: string): Promise<number> {
  const found = await readdir(dataFolder).catch(() => []);
  if (found.length > 0) {
    throw new SallyportError(
      'conflict',
      `${dataFolder} is not empty.`,
      'Restore into another folder (SALLYPORT_HOME), or move this one away.',
    );
  }
  if ((await stat(file).catch(() => undefined)) === undefined) {
    throw new SallyportError('not_found', `There is no file ${file}.`, 'Name the file that "backup" wrote.');
  }
  const aside = `${dataFolder.replace(/\/+$/, '')}.restoring`;
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true, mode: 0o700 });
  try {
    const count = await unpack(file, aside).catch((thrown: unknown) => {
      if (isErrno(thrown, 'ENOSPC') || thrown instanceof SallyportError) throw thrown;
      throw damaged(file, asSallyportError(thrown).message);
    });
    openStore(join(aside, storeName)).close();
    await rm(dataFolder, { recursive: true, force: true });
    await rename(aside, dataFolder);
    return count;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

async function unpack(file: string, folder: string): Promise<number> {
  const archive = extract();
  const hash = createHash('sha256');
  const reading = pipeline(createReadStream(file), createGunzip(), archive);
  reading.catch(() => undefined);
  let count = 0;
  let seal = '';
  for await (const entry of archive) {
    const { name, type, size, mode } = entry.header;
    if (name === sealName) {
      const parts: Buffer[] = [];
      for await (const part of entry) parts.push(part as Buffer);
      seal = Buffer.concat(parts).toString();
      continue;
    }
    const path = posix.normalize(name);
    if (type !== 'file' || path !== name || path.startsWith('/') || path.split('/').includes('..')) {
      throw damaged(file, `it holds "${name}", which no backup has`);
    }
    await mkdir(dirname(join(folder, path)), { recursive: true, mode: 0o700 });
    hash.update(`${name}\0${size}\0`);
    await pipeline(entry, hashing(hash), createWriteStream(join(folder, path), { mode: 0o600, flags: 'wx' }));
    await chmod(join(folder, path), (mode & 0o700) | 0o600);
    count++;
  }
  await reading;
  if (seal !== JSON.stringify({ files: count, sha256: hash.digest('hex') }))
    throw damaged(file, 'its end is missing');
  return count;
}

function damaged(file: string, why: string): SallyportError {
  return new SallyportError(
    'invalid_input',
    `${file} is no whole backup: ${why}.`,
    'Take another backup; nothing was changed.',
  );
}
