import type { PartId, ReviewPart } from '../../protocol/review.ts';
import { hunkBytes } from './content.ts';

/** How many ways of reading a content are followed at once. There are several only where lines repeat themselves. */
const maxWays = 64;

interface Way {
  missing: { id: PartId; before: Way['missing'] } | undefined;
  count: number;
}

/**
 * Which hunks are missing, when `content` is `original` without some of them; undefined when it is something else. What an
 * editor cannot hold as it is (bytes that are no UTF-8, line ends of two kinds) is compared as an editor would write it.
 * @param base the older content of the diff
 * @param original the newer one
 * @param parts of the diff between the two
 */
export function missingParts(
  base: Uint8Array,
  original: Uint8Array,
  content: Uint8Array,
  parts: readonly ReviewPart[],
): PartId[] | undefined {
  const exact = follow(base, original, content, parts, same);
  if (exact !== undefined || (survives(original) && survives(base))) return exact;
  return follow(base, original, asEdited(content), parts, asEdited);
}

function follow(
  base: Uint8Array,
  original: Uint8Array,
  content: Uint8Array,
  parts: readonly ReviewPart[],
  shown: (bytes: Uint8Array) => Uint8Array,
): PartId[] | undefined {
  let ways = new Map<number, Way>([[0, { missing: undefined, count: 0 }]]);
  let at = 0;
  for (const hunk of hunkBytes(base, original, parts)) {
    const between = shown(base.subarray(at, hunk.oldStart));
    const without = shown(base.subarray(hunk.oldStart, hunk.oldEnd));
    const with_ = shown(original.subarray(hunk.newStart, hunk.newEnd));
    const next = new Map<number, Way>();
    const keep = (place: number, way: Way): void => {
      const known = next.get(place);
      if (known === undefined || known.count > way.count) next.set(place, way);
    };
    for (const [start, way] of ways) {
      const place = start + between.length;
      if (!startsAt(content, start, between)) continue;
      if (startsAt(content, place, with_)) keep(place + with_.length, way);
      if (startsAt(content, place, without))
        keep(place + without.length, { missing: { id: hunk.id, before: way.missing }, count: way.count + 1 });
    }
    if (next.size === 0 || next.size > maxWays) return undefined;
    ways = next;
    at = hunk.oldEnd;
  }
  const rest = shown(base.subarray(at));
  const place = content.length - rest.length;
  const way = ways.get(place);
  if (way === undefined || !startsAt(content, place, rest)) return undefined;
  const missing: PartId[] = [];
  for (let each = way.missing; each !== undefined; each = each.before) missing.unshift(each.id);
  return missing;
}

function startsAt(content: Uint8Array, at: number, piece: Uint8Array): boolean {
  if (at + piece.length > content.length) return false;
  return Buffer.compare(content.subarray(at, at + piece.length), piece) === 0;
}

function same(bytes: Uint8Array): Uint8Array {
  return bytes;
}

const strict = new TextDecoder('utf-8', { fatal: true });

/** Whether an editor that reads and writes it changes nothing. */
function survives(bytes: Uint8Array): boolean {
  try {
    const text = strict.decode(bytes);
    const ends: string[] = text.match(/\r\n?|\n/g) ?? [];
    return new Set(ends).size <= 1 && !ends.includes('\r');
  } catch {
    return false;
  }
}

const lenient = new TextDecoder('utf-8', { ignoreBOM: true });

function asEdited(bytes: Uint8Array): Uint8Array {
  return Buffer.from(lenient.decode(bytes).replace(/\r\n?/g, '\n'));
}
