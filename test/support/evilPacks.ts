import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { deflateSync } from 'node:zlib';

/** Packs byte by byte, as no git makes them. */

export type PackKind = 'commit' | 'tree' | 'blob';
const kinds: Record<PackKind, number> = { commit: 1, tree: 2, blob: 3 };

/** An object in a pack. */
export function packed(kind: PackKind, content: Uint8Array): Buffer {
  return Buffer.concat([head(kinds[kind], content.length), deflateSync(content)]);
}

/** A difference to an object by its name, which need not be in the pack. */
export function packedDelta(baseSha: string, delta: Uint8Array): Buffer {
  return Buffer.concat([head(7, delta.length), Buffer.from(baseSha, 'hex'), deflateSync(delta)]);
}

export function pack(objects: readonly Uint8Array[], says = objects.length): Buffer {
  const start = Buffer.alloc(12);
  start.write('PACK');
  start.writeUInt32BE(2, 4);
  start.writeUInt32BE(says, 8);
  const body = Buffer.concat([start, ...objects]);
  return Buffer.concat([body, createHash('sha1').update(body).digest()]);
}

export function bundle(
  packBytes: Uint8Array,
  refs: readonly string[],
  prerequisites: readonly string[] = [],
): Buffer {
  const lines = ['# v2 git bundle', ...prerequisites.map((sha) => `-${sha}`), ...refs, '', ''];
  return Buffer.concat([Buffer.from(lines.join('\n')), packBytes]);
}

export function nameOf(kind: PackKind, content: Uint8Array): string {
  return createHash('sha1').update(`${kind} ${content.length}\0`).update(content).digest('hex');
}

/** A difference of a few bytes whose result is the base repeated up to `size` bytes. */
export function inflating(baseSize: number, size: number): Buffer {
  const parts = [number(baseSize), number(size)];
  for (let left = size; left > 0;) {
    const length = Math.min(baseSize, left, 0xffffff);
    parts.push(Buffer.from([0xf0, length & 255, (length >> 8) & 255, (length >> 16) & 255]));
    left -= length;
  }
  return Buffer.concat(parts);
}

export function treeOf(entries: readonly (readonly [mode: string, name: string, sha: string])[]): Buffer {
  return Buffer.concat(
    entries.map(([mode, name, sha]) =>
      Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(sha, 'hex')]),
    ),
  );
}

export function commitOf(tree: string, parents: readonly string[], message = 'made by hand\n'): Buffer {
  const who = 'Mallory <mallory@example.com> 1700000000 +0000';
  const lines = [`tree ${tree}`, ...parents.map((p) => `parent ${p}`), `author ${who}`, `committer ${who}`];
  return Buffer.from(`${lines.join('\n')}\n\n${message}`);
}

function head(kind: number, size: number): Buffer {
  const bytes: number[] = [];
  let byte = (kind << 4) | (size & 15);
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes.push(byte | 0x80);
    byte = rest & 0x7f;
  }
  return Buffer.from([...bytes, byte]);
}

function number(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest & 127) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/**
 * Runs `work`, and finds the most memory that a git process of this process' took meanwhile, in bytes. Linux only. A
 * process that is gone between two looks is not seen; one that takes much lives longer.
 */
export async function gitMemory(work: () => Promise<unknown>): Promise<number> {
  let most = 0;
  const timer = setInterval(() => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'latin1');
        const [, name = ''] = /^Name:\t(.*)$/m.exec(status) ?? [];
        const [, parent = ''] = /^PPid:\t(\d+)$/m.exec(status) ?? [];
        const [, peak = '0'] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? [];
        if (name === 'git' && Number(parent) === process.pid) most = Math.max(most, Number(peak) * 1024);
      } catch {
        // Gone already.
      }
    }
  }, 15);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return most;
}
