/**
 * Finding of characters that cannot be seen or that change the order of what is read, in content that an agent made. What
 * many languages need is let through where it stands as they need it.
 */

export interface Hidden {
  /** From 1. */
  line: number;
  /** "U+202E". */
  character: string;
  kind: 'order' | 'invisible' | 'control';
}

const suspicious =
  /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u2028\u2029\u2800\ufff9-\ufffb\u{13430}-\u{1343f}]|[\x00-\x08\x0b-\x1f\x7f-\x9f]/u;
/** Joiners and selectors inside of emoji; joiners between letters of scripts that are written with them; a Hangul filler never. */
const usual = [
  /\p{Extended_Pictographic}\ufe0f?\p{Emoji_Modifier}?\u200d(?=\p{Extended_Pictographic})/gu,
  /(?<=[\p{Extended_Pictographic}0-9#*])\ufe0f/gu,
  /(?<=[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{Script=Nko}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}])[\u200c\u200d](?=[\p{L}\p{M}])/gu,
];
const order = /\p{Bidi_Control}/u;
const control = /[\x00-\x1f\x7f-\x9f]/;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** The first of them in a line; undefined when there is none. Bytes that are no UTF-8 are none. */
export function hiddenIn(bytes: Uint8Array, line: number): Hidden | undefined {
  if (!mayHide(bytes)) return undefined;
  let text = decoder.decode(bytes);
  // Some systems begin every text with a byte order mark.
  if (line === 1 && text.startsWith('\ufeff')) text = text.slice(1);
  if (text.endsWith('\r')) text = text.slice(0, -1);
  return hiddenInText(text, line);
}

/** As `hiddenIn`, of text such as a name. */
export function hiddenInText(text: string, line = 1): Hidden | undefined {
  if (!suspicious.test(text)) return undefined;
  const found = suspicious.exec(usual.reduce((rest, pattern) => rest.replace(pattern, ''), text))?.[0];
  if (found === undefined) return undefined;
  const kind = order.test(found) ? 'order' : control.test(found) ? 'control' : 'invisible';
  const code = (found.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
  return { line, character: `U+${code}`, kind };
}

/** Whether there is anything but printable ASCII, tabs and the end of a line. Nearly every line is told apart by this. */
function mayHide(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte >= 0x7f || (byte < 0x20 && byte !== 9 && (byte !== 13 || at !== bytes.length - 1))) return true;
  }
  return false;
}
