import { maxPromptLength } from '../../protocol/grammar.ts';
import type { PartId, RejectedPart } from '../../protocol/review.ts';
import { safeLine, stripEscapes } from '../../protocol/safeText.ts';
import type { AgentMessage, LineRange } from './taskReview.ts';

/** A remark, as the agent is to find its place. */
export interface PlacedRemark {
  id: string;
  path: string;
  /** In the agent's newest version, or in the older one. */
  side: 'old' | 'new';
  /** Undefined where nothing is left of the lines. */
  lines: LineRange | undefined;
  /** It is about what the agent left uncommitted. */
  leftover: boolean;
  /** What was looked at, as lines of a diff or as they are. */
  code: string;
  isDiff: boolean;
  text: string;
}

export interface ToldRejection extends RejectedPart {
  /** It was told before, and came back. */
  again: boolean;
}

/** Longest code that is shown with one remark, and with one rejected hunk, in characters. */
const longest = { code: 4000, rejected: 1500 };
/** Of one file so many rejected hunks are shown; the others are counted. */
const shownHunks = 6;
/** Room for what stands around, in characters. */
const reserve = 600;

/**
 * One message of all that is to be told. What does not fit into a prompt is left out whole, and not named in the result, so
 * that it stays to be told; undefined when there is nothing to say.
 */
export function agentMessage(
  remarks: readonly PlacedRemark[],
  rejections: readonly ToldRejection[],
  extra = '',
  room = maxPromptLength,
): AgentMessage | undefined {
  const said = new Text(room - reserve - extra.length);
  const told = said.remarks(remarks);
  const rejected = said.rejections(rejections);
  if (told.length === 0 && rejected.length === 0) return undefined;
  const text = [extra.trim(), ...said.blocks].filter((block) => block !== '').join('\n\n');
  return { text, remarks: told, rejected };
}

class Text {
  readonly blocks: string[] = [];
  private room: number;

  constructor(room: number) {
    this.room = room;
  }

  private add(block: string): boolean {
    if (block.length + 2 > this.room) return false;
    this.room -= block.length + 2;
    this.blocks.push(block);
    return true;
  }

  remarks(remarks: readonly PlacedRemark[]): string[] {
    if (remarks.length === 0) return [];
    const told: string[] = [];
    this.add(
      remarks.length === 1
        ? 'I have reviewed your work, and have a remark. Change the code accordingly:'
        : 'I have reviewed your work, and have these remarks. Change the code accordingly:',
    );
    for (const remark of remarks) {
      const head = `${told.length + 1}. ${placeOf(remark)}`;
      const whole = `${head}\n${fenced(remark.code, remark.isDiff ? 'diff' : '')}\n${remark.text.trim()}`;
      if (this.add(whole) || this.add(`${head}\n${remark.text.trim()}`)) told.push(remark.id);
    }
    if (told.length === 0) this.blocks.length = 0;
    return told;
  }

  rejections(rejections: readonly ToldRejection[]): PartId[] {
    const byPath = new Map<string, ToldRejection[]>();
    for (const one of rejections) byPath.set(one.path, [...(byPath.get(one.path) ?? []), one]);
    if (byPath.size === 0) return [];
    const told: PartId[] = [];
    const head =
      'I have rejected these changes. Undo those that are still in your files, and do not bring these back:';
    const at = this.blocks.length;
    if (!this.add(head)) return [];
    for (const [path, parts] of byPath) {
      if (!this.add(fileBlock(path, parts, true)) && !this.add(fileBlock(path, parts, false))) continue;
      told.push(...parts.map(({ part }) => part));
    }
    if (told.length === 0) this.blocks.length = at;
    return told;
  }
}

function placeOf({ path, side, lines, leftover }: PlacedRemark): string {
  const where =
    lines === undefined
      ? 'about lines that are not there any more'
      : lines.line === lines.endLine
        ? `line ${lines.line}`
        : `lines ${lines.line} to ${lines.endLine}`;
  const older = side === 'old' && lines !== undefined ? ' of the older version' : '';
  const left = leftover ? ', in what you left uncommitted' : '';
  return `${code(path)}, ${where}${older}${left}:`;
}

function fileBlock(path: string, parts: readonly ToldRejection[], withText: boolean): string {
  const again = parts.some((part) => part.again) ? ', which I rejected before and which came back' : '';
  const lines = [`- ${code(path)}${again}:`];
  for (const { kind, text } of withText ? parts.slice(0, shownHunks) : []) {
    if (text === '') continue;
    lines.push(kind === 'hunk' ? fenced(text.slice(0, longest.rejected), 'diff') : safeLine(text, 300));
  }
  const more = withText ? parts.length - shownHunks : parts.length;
  if (more > 0)
    lines.push(withText ? `and ${counted(more)} more of this file` : `${counted(more)} of this file`);
  return lines.join('\n');
}

function counted(parts: number): string {
  return parts === 1 ? '1 change' : `${parts.toLocaleString('en')} changes`;
}

/** A path between backticks; what it holds cannot end them. */
function code(path: string): string {
  const plain = safeLine(path, 400).replaceAll('`', "'");
  return `\`${plain === '' ? '?' : plain}\``;
}

/** Code between fences that are longer than any in it. */
function fenced(text: string, language: string): string {
  const plain = stripEscapes(text).slice(0, longest.code).replace(/\n+$/, '');
  if (plain.trim() === '') return '';
  const runs = plain.match(/`{3,}/g) ?? [];
  const fence = '`'.repeat(Math.max(3, ...runs.map((run) => run.length + 1)));
  return `${fence}${language}\n${plain}\n${fence}`;
}
