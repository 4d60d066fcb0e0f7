/** Marks of one kind beyond this many are left out. */
const maxMarks = 2000;

/**
 * Marks words in what is drawn, without touching it: the browser paints ranges, the page stays as lit made it.
 * @param current the row whose marks stand out
 */
export function markMatches(root: Element, words: string, current: Element | undefined): void {
  const needle = words.toLowerCase();
  CSS.highlights.delete('sallyport-match');
  CSS.highlights.delete('sallyport-current');
  if (needle === '') return;
  const matches: Range[] = [];
  const standing: Range[] = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null && matches.length < maxMarks; node = walker.nextNode()) {
    const text = (node.textContent ?? '').toLowerCase();
    for (let at = text.indexOf(needle); at !== -1; at = text.indexOf(needle, at + needle.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + needle.length);
      (current?.contains(node) === true ? standing : matches).push(range);
    }
  }
  CSS.highlights.set('sallyport-match', new Highlight(...matches));
  CSS.highlights.set('sallyport-current', new Highlight(...standing));
}
