/**
 * Text from a sandbox, made fit for the eyes: what an escape sequence or an invisible character would do to a reader
 * is taken away or shown. The result is text, never markup.
 */

/** CSI, OSC, DCS, APC, PM, SOS sequences (with a cap, so that an open one does not eat the rest) and two-byte escapes. */
const escapes =
  /\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]|\x9b[0-?]{0,64}[ -/]{0,8}[@-~]|\x1b[\]PX^_][^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)|\x1b[ -/]{0,4}[0-~]/g;

/** Anything that is neither printable nor a tab or a newline, or that changes the order or the look of its neighbours. */
const hidden =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

const mayHide = new RegExp(hidden.source, 'u');

/** Takes escape sequences away, and carriage returns of line ends. */
export function stripEscapes(text: string): string {
  const plain = text.includes('\x1b') || text.includes('\x9b') ? text.replace(escapes, '') : text;
  return plain.includes('\r') ? plain.replace(/\r+\n/g, '\n') : plain;
}

/** Shows what cannot be seen: `␛` for control characters, `‹U+202E›` for the others. */
export function showHidden(text: string): string {
  if (!mayHide.test(text)) return text;
  return text.replace(hidden, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return '␡';
    return `‹U+${code.toString(16).toUpperCase().padStart(4, '0')}›`;
  });
}

/** Fit to be shown as text. */
export function safeText(text: string): string {
  return showHidden(stripEscapes(text));
}

/** Fit for one line: line breaks become spaces, and it is cut. */
export function safeLine(text: string, max = 300): string {
  const line = safeText(text.slice(0, max * 4))
    .replace(/\s+/g, ' ')
    .trim();
  const characters = Array.from(line);
  return characters.length <= max ? line : `${characters.slice(0, max - 1).join('')}…`;
}
