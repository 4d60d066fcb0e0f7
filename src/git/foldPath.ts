/**
 * What a path may be on another disk: one that does not tell cases apart, that composes characters, that passes over those that
 * cannot be seen (HFS+), or that cuts dots, blanks and streams off the end of a name (Windows). Two paths that are the same
 * there have the same folded form.
 */
export function foldPath(path: string): string {
  if (/^[\x21-\x39\x3b-\x5b\x5d-\x7e]*$/.test(path) && !/\.(?:\/|$)/.test(path)) return path.toLowerCase();
  return path.split(/[/\\]/).map(foldName).join('/');
}

const ignorable = /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\x00-\x1f\x7f-\x9f]/gu;

function foldName(name: string): string {
  const plain = name.normalize('NFKC').replace(ignorable, '');
  // Upwards first: some letters have one large form and two small ones.
  const folded = plain.toUpperCase().toLowerCase().normalize('NFKC');
  const cut = folded.replace(/(?<=.):.*$/s, '').replace(/[. ]+$/, '');
  return cut === '' ? folded : cut;
}

/** Whether Windows may take it for the short name of another file. */
export function isShortName(name: string): boolean {
  return /^[^.~]{1,6}~[0-9]{1,6}(?:\.[^.]{0,3})?$/.test(name);
}
