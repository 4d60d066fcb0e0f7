import { showHidden } from '../../protocol/safeText.ts';

/** A character that cannot be seen, or that turns the order of its neighbours, where it stands in a text. */
export interface HiddenCharacter {
  /** Lines and UTF-16 code units, from 0. */
  line: number;
  start: number;
  end: number;
  /** What is shown in its place, such as `‹U+202E›`. */
  shown: string;
}

/** At most this many are looked for in one text: a text that is full of them is shown by its first ones. */
const most = 2000;

/** The hidden characters of a text. The carriage return of a line's end is none. */
export function findHidden(text: string): HiddenCharacter[] {
  const found: HiddenCharacter[] = [];
  let number = 0;
  for (const line of text.split('\n')) {
    const whole = line.endsWith('\r') ? line.slice(0, -1) : line;
    if (showHidden(whole) !== whole) {
      let at = 0;
      for (const character of whole) {
        const shown = showHidden(character);
        if (shown !== character) found.push({ line: number, start: at, end: at + character.length, shown });
        if (found.length === most) return found;
        at += character.length;
      }
    }
    number += 1;
  }
  return found;
}
