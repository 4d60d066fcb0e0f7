import { showHidden } from '../../../src/protocol/safeText.ts';
import type { Row, Side } from './fileRows.ts';
import { difference } from './lineDifference.ts';
import type { Piece, TextColours } from './textColours.ts';

/** Draws lines of code. By hand, because there are many: what they say becomes text nodes and nothing else. */

/** What each line was drawn from last: most drawings change nothing of it. */
const drawn = new WeakMap<HTMLElement, Drawn>();

interface Drawn {
  row: Row;
  look: string;
  left: readonly Piece[] | undefined;
  right: readonly Piece[] | undefined;
}

type Lines = Extract<Row, { kind: 'line' | 'pair' }>;

/** @param look classes that say how the part of the line is decided */
export function drawLine(
  row: Lines,
  element: HTMLElement,
  colours: TextColours | undefined,
  look: string,
): void {
  const [left, right] =
    row.kind === 'line'
      ? [
          row.side.kind === 'removed'
            ? colours?.get('old', row.side.line)
            : colours?.get('new', row.side.line),
        ]
      : [colours?.get('old', row.left?.line ?? 0), colours?.get('new', row.right?.line ?? 0)];
  const before = drawn.get(element);
  if (before?.row === row && before.look === look && before.left === left && before.right === right) return;
  drawn.set(element, { row, look, left, right });
  if (row.kind === 'line') {
    element.className = `rv-line ${row.side.kind} ${look}`;
    element.replaceChildren(
      number(row.old, 'old'),
      number(row.new, 'new'),
      sign(row.side),
      code(row.side, left),
    );
    return;
  }
  element.className = `rv-line rv-pair ${look}`;
  element.replaceChildren(half(row.left, 'old', left), half(row.right, 'new', right));
}

function half(
  side: Side | undefined,
  which: 'old' | 'new',
  pieces: readonly Piece[] | undefined,
): HTMLElement {
  const place = document.createElement('div');
  place.className = `rv-half ${side?.kind ?? 'none'}`;
  if (side !== undefined) place.append(number(side.line, which), sign(side), code(side, pieces));
  return place;
}

/** Shown by the style sheet, so that it is not copied with the code. */
function number(line: number | undefined, side: 'old' | 'new'): HTMLElement {
  const element = document.createElement('span');
  element.className = 'rv-no';
  if (line !== undefined) {
    element.dataset['n'] = String(line);
    element.dataset['side'] = side;
    element.title = 'Comment on this line';
  }
  return element;
}

function sign({ kind }: Side): HTMLElement {
  const element = document.createElement('span');
  element.className = 'rv-sign';
  element.dataset['sign'] = kind === 'added' ? '+' : kind === 'removed' ? '−' : ' ';
  return element;
}

function code(side: Side, pieces: readonly Piece[] | undefined): HTMLElement {
  const tag = side.kind === 'added' ? 'ins' : side.kind === 'removed' ? 'del' : 'span';
  const element = document.createElement(tag);
  element.className = 'rv-code';
  const text = withoutEnd(side);
  const mark = side.other === undefined ? undefined : difference(text, side.other.replace(/\r$/, ''));
  let at = 0;
  const put = (to: number, colour: string): void => {
    while (at < to) {
      const marked = mark !== undefined && at >= mark.from && at < mark.to;
      const edge = mark === undefined ? to : at < mark.from ? mark.from : marked ? mark.to : to;
      const end = Math.min(to, edge);
      append(element, text.slice(at, end), `${colour}${marked ? ' rv-mark' : ''}`.trim());
      at = end;
    }
  };
  for (const { length, colour } of pieces ?? []) put(Math.min(text.length, at + length), colour);
  put(text.length, '');
  if (side.open === true) {
    const note = document.createElement('span');
    note.className = 'rv-open dim';
    note.textContent = ' (no newline at the end)';
    element.append(note);
  }
  return element;
}

/** A carriage return is shown where it is what differs, or may be. */
function withoutEnd({ kind, text, other }: Side): string {
  if (!text.endsWith('\r')) return text;
  return kind === 'same' || other?.endsWith('\r') === true ? text.slice(0, -1) : text;
}

function append(to: HTMLElement, text: string, classes: string): void {
  if (text === '') return;
  let place: HTMLElement = to;
  if (classes !== '') {
    place = document.createElement('span');
    place.className = classes;
    to.append(place);
  }
  if (showHidden(text) === text) {
    place.append(text);
    return;
  }
  // What cannot be seen, or would turn its neighbours round, stands out.
  let plain = '';
  for (const character of text) {
    const shown = showHidden(character);
    if (shown === character) {
      plain += character;
      continue;
    }
    const hidden = document.createElement('span');
    hidden.className = 'rv-hidden';
    hidden.textContent = shown;
    hidden.title = 'An invisible character';
    place.append(plain, hidden);
    plain = '';
  }
  place.append(plain);
}
