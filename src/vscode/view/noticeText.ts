/**
 * A text for a notification. VS Code makes links of `[text](target)` in it, of commands too; a word joiner between the
 * two brackets leaves it the text that it is.
 */
export function noticeText(text: string): string {
  return text.replaceAll('](', ']\u2060(');
}
