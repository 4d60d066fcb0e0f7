import { showHidden, stripEscapes } from '../../src/protocol/safeText.ts';

/** A piece of text with one look. `classes` and `color` are made of numbers only, never of the text. */
export interface Span {
  text: string;
  classes: string;
  color?: string;
  background?: string;
}

interface Look {
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  inverse: boolean;
  foreground: string | number | undefined;
  background: string | number | undefined;
}

const plain: Look = {
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  inverse: false,
  foreground: undefined,
  background: undefined,
};

const sgr = /\x1b\[([0-9;:]{0,64})m/g;

/** Cuts text with colour escapes into spans. Every other escape is taken away, what is invisible is shown. */
export function ansiSpans(text: string): Span[] {
  if (!text.includes('\x1b')) return [{ text: showHidden(stripEscapes(text)), classes: '' }];
  const spans: Span[] = [];
  let look = plain;
  let from = 0;
  const add = (piece: string): void => {
    const shown = showHidden(stripEscapes(piece));
    if (shown !== '') spans.push(toSpan(shown, look));
  };
  for (const match of text.matchAll(sgr)) {
    add(text.slice(from, match.index));
    look = change(look, match[1] ?? '');
    from = match.index + match[0].length;
  }
  add(text.slice(from));
  return spans;
}

function change(look: Look, codes: string): Look {
  const numbers = codes.split(/[;:]/).map((code) => (code === '' ? 0 : Number(code)));
  let next = look;
  for (let i = 0; i < numbers.length; i++) {
    const code = numbers[i] ?? 0;
    if (code === 0) next = plain;
    else if (code === 1) next = { ...next, bold: true };
    else if (code === 2) next = { ...next, dim: true };
    else if (code === 3) next = { ...next, italic: true };
    else if (code === 4) next = { ...next, underline: true };
    else if (code === 7) next = { ...next, inverse: true };
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code === 23) next = { ...next, italic: false };
    else if (code === 24) next = { ...next, underline: false };
    else if (code === 27) next = { ...next, inverse: false };
    else if (code >= 30 && code <= 37) next = { ...next, foreground: code - 30 };
    else if (code >= 90 && code <= 97) next = { ...next, foreground: code - 82 };
    else if (code === 39) next = { ...next, foreground: undefined };
    else if (code >= 40 && code <= 47) next = { ...next, background: code - 40 };
    else if (code >= 100 && code <= 107) next = { ...next, background: code - 92 };
    else if (code === 49) next = { ...next, background: undefined };
    else if (code === 38 || code === 48) {
      const [color, used] = extended(numbers.slice(i + 1));
      next = code === 38 ? { ...next, foreground: color } : { ...next, background: color };
      i += used;
    }
  }
  return next;
}

/** `5;n` or `2;r;g;b`: a colour and how many numbers it took. */
function extended(rest: number[]): [string | number | undefined, number] {
  const [kind, a, b, c] = rest;
  if (kind === 5 && isByte(a)) return [a < 16 ? a : palette(a), 2];
  if (kind === 2 && isByte(a) && isByte(b) && isByte(c)) return [`rgb(${a} ${b} ${c})`, 4];
  return [undefined, rest.length];
}

function palette(n: number): string {
  if (n >= 232) {
    const grey = (n - 232) * 10 + 8;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const level = (m: number): number => (m === 0 ? 0 : m * 40 + 55);
  const cube = n - 16;
  return `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})`;
}

function isByte(n: number | undefined): n is number {
  return n !== undefined && Number.isInteger(n) && n >= 0 && n <= 255;
}

function toSpan(text: string, look: Look): Span {
  const classes: string[] = [];
  if (look.bold) classes.push('ansi-bold');
  if (look.dim) classes.push('ansi-dim');
  if (look.italic) classes.push('ansi-italic');
  if (look.underline) classes.push('ansi-underline');
  const foreground = look.inverse ? (look.background ?? 'var(--vscode-editor-background)') : look.foreground;
  const background = look.inverse ? (look.foreground ?? 'var(--vscode-editor-foreground)') : look.background;
  if (typeof foreground === 'number') classes.push(`ansi-fg-${foreground}`);
  if (typeof background === 'number') classes.push(`ansi-bg-${background}`);
  return {
    text,
    classes: classes.join(' '),
    ...(typeof foreground === 'string' ? { color: foreground } : {}),
    ...(typeof background === 'string' ? { background } : {}),
  };
}
