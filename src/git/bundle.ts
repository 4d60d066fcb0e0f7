import { concat } from '../base/lines.ts';
import type { ByteStream } from '../protocol/runner.ts';

/** What stands before the pack in a git bundle of version 2. */
export interface BundleHeader {
  /** Commits that the receiver must have. */
  prerequisites: string[];
  refs: { sha: string; name: string }[];
}

/** Longest header that is read when nobody says otherwise, in bytes: room for some 10,000 lines. */
const defaultHeaderBytes = 1 << 20;
const signature = '# v2 git bundle';

export function encodeBundleHeader(header: BundleHeader): Uint8Array {
  const lines = [
    signature,
    ...header.prerequisites.map((sha) => `-${sha}`),
    ...header.refs.map(({ sha, name }) => `${sha} ${name}`),
    '',
    '',
  ];
  return new TextEncoder().encode(lines.join('\n'));
}

/**
 * Parts a bundle into its header and its pack. Throws an Error that says what is wrong with it; the grammar is
 * stricter than git's own. The pack must be read, or left by `return`, to let go of the source.
 */
export async function readBundle(
  source: ByteStream,
  maxHeaderBytes = defaultHeaderBytes,
): Promise<{ header: BundleHeader; pack: AsyncGenerator<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  const leave = async (): Promise<void> => {
    await iterator.return?.();
  };
  const parts: Uint8Array[] = [];
  let size = 0;
  // The last byte of the chunk before, because the blank line may lie across two chunks.
  let last = 0;
  for (;;) {
    const next = await iterator.next();
    if (next.done === true) throw new Error('the bundle ends inside its header');
    const chunk = next.value;
    if (chunk.length === 0) continue;
    const end = last === 10 && chunk[0] === 10 ? 1 : afterBlankLine(chunk);
    parts.push(end === -1 ? chunk : chunk.subarray(0, end));
    size += end === -1 ? chunk.length : end;
    if (size > maxHeaderBytes) {
      await leave();
      throw new Error(`the bundle's header is longer than ${maxHeaderBytes} bytes`);
    }
    last = chunk.at(-1) ?? 0;
    if (end === -1) continue;
    const rest = chunk.subarray(end);
    const pack = async function* (): AsyncGenerator<Uint8Array> {
      try {
        if (rest.length > 0) yield rest;
        for (;;) {
          const more = await iterator.next();
          if (more.done === true) return;
          yield more.value;
        }
      } finally {
        await leave();
      }
    };
    try {
      return { header: parseHeader(concat(parts)), pack: pack() };
    } catch (thrown) {
      await leave();
      throw thrown;
    }
  }
}

function afterBlankLine(chunk: Uint8Array): number {
  for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) {
    if (chunk[at + 1] === 10) return at + 2;
  }
  return -1;
}

function parseHeader(bytes: Uint8Array): BundleHeader {
  const [first, ...lines] = Buffer.from(bytes).toString('latin1').slice(0, -2).split('\n');
  if (first !== signature) throw new Error('it is not a git bundle of version 2');
  const header: BundleHeader = { prerequisites: [], refs: [] };
  for (const line of lines) {
    // A prerequisite may carry the subject of its commit, which nothing needs.
    const prerequisite = /^-([0-9a-f]{40})(?: .*)?$/s.exec(line)?.[1];
    const [, sha, name] = /^([0-9a-f]{40}) (HEAD|refs\/[\x21-\x7e]+)$/.exec(line) ?? [];
    if (prerequisite !== undefined && header.refs.length === 0) header.prerequisites.push(prerequisite);
    else if (sha !== undefined && name !== undefined) header.refs.push({ sha, name });
    else throw new Error(`its header holds the line ${JSON.stringify(line.slice(0, 80))}`);
  }
  if (header.refs.length === 0) throw new Error('it names no ref');
  return header;
}
