import { safeLine } from '../protocol/safeText.ts';

const maxLines = 60;
const maxLineLength = 400;

/** What the server said to people (`remote: …`), a line each, fit to be shown. Pure. */
export function serverWords(stderr: string): string[] {
  const lines = stderr
    .split(/\n|\r/)
    .filter((line) => line.startsWith('remote:'))
    .map((line) => safeLine(withoutPasswords(line.slice('remote:'.length)), maxLineLength))
    .filter((line) => line !== '' && !/^[-=*#\s]+$/.test(line));
  return lines.slice(0, maxLines);
}

/** Takes user names and passwords out of addresses. Pure. */
export function withoutPasswords(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@]*@/gi, '$1');
}

/**
 * The address that the server gave, such as where to open a pull request: https, at the server's own host, without a user and
 * without anything that could not be seen. Undefined when there is none. Pure.
 */
export function offeredUrl(words: readonly string[], host: string | undefined): string | undefined {
  if (host === undefined) return undefined;
  for (const word of words.flatMap((line) => line.split(/\s+/))) {
    const text = /^[<("']*(https:\/\/[\x21-\x7e]{1,1000}?)[>)"'.,;]*$/i.exec(word)?.[1];
    if (text === undefined || !URL.canParse(text)) continue;
    const url = new URL(text);
    if (url.username !== '' || url.password !== '' || /[\\<>"'`]/.test(text)) continue;
    if (sameHost(url.hostname, host)) return url.href;
  }
  return undefined;
}

/** Forges have a second name for ssh through the port of https. */
function sameHost(web: string, remote: string): boolean {
  const plain = (host: string): string =>
    host
      .toLowerCase()
      .replace(/^\[|\]$/g, '')
      .replace(/^(?:ssh|altssh)\.(?=[^.]+\.[^.]+$)/, '');
  return plain(web) === plain(remote);
}
