import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod/mini';
import type { ServerConfig } from '../config.ts';
import type { Mail } from './mail.ts';
import { escaped } from './page.ts';
import { digestOf, randomText } from './secretText.ts';

/** How long a link is good for, in milliseconds. */
export const linkMs = 10 * 60_000;

const Row = z.object({
  browser: z.string(),
  email: z.string(),
  next: z.string(),
  expires_at: z.number(),
  used_at: z.nullable(z.number()),
});
type LinkRow = z.infer<typeof Row>;

export type LinkState = 'good' | 'over' | 'other browser';

/** Who may have a link: those on a list; with no list at all, those who are users already. */
export function isAllowedEmail(
  { allowedEmails, allowedDomains }: Pick<ServerConfig, 'allowedEmails' | 'allowedDomains'>,
  email: string,
  isKnown: boolean,
): boolean {
  if (allowedEmails.length + allowedDomains.length === 0) return isKnown;
  const domain = email.slice(email.lastIndexOf('@') + 1);
  const listed = (list: readonly string[], text: string): boolean =>
    list.some((one) => one.toLowerCase() === text);
  return listed(allowedEmails, email) || listed(allowedDomains, domain);
}

/**
 * Links that sign in once, within ten minutes, in the browser that asked for them. Of link and browser only hashes are
 * stored.
 */
export class MagicLinks {
  private readonly store: DatabaseSync;
  private readonly now: () => number;

  constructor(store: DatabaseSync, now: () => number) {
    this.store = store;
    this.now = now;
  }

  /** @returns the secret for the link */
  create(email: string, browser: string, next: string): string {
    const [secret, now] = [randomText(), this.now()];
    this.store.prepare('DELETE FROM magic_links WHERE expires_at <= ?').run(now);
    this.store
      .prepare('INSERT INTO magic_links (hash, browser, email, next, expires_at) VALUES (?, ?, ?, ?, ?)')
      .run(digestOf(secret), digestOf(browser), email, next, now + linkMs);
    return secret;
  }

  /** What would come of using it; nothing is used up. */
  look(secret: string, browser: string | undefined): LinkState {
    return this.judge(this.row(secret), browser);
  }

  /** Uses it up, if it is good. */
  use(secret: string, browser: string | undefined): { state: LinkState; email: string; next: string } {
    const row = this.row(secret);
    const state = this.judge(row, browser);
    if (state !== 'good' || row === undefined) return { state, email: '', next: '' };
    // Of two requests at the same moment one finds it used.
    const { changes } = this.store
      .prepare('UPDATE magic_links SET used_at = ? WHERE hash = ? AND used_at IS NULL')
      .run(this.now(), digestOf(secret));
    return { state: changes === 1 ? 'good' : 'over', email: row.email, next: row.next };
  }

  private judge(row: LinkRow | undefined, browser: string | undefined): LinkState {
    if (row === undefined || row.used_at !== null) return 'over';
    const now = this.now();
    // Nor before it was made, when the clock was set back.
    if (row.expires_at <= now || row.expires_at > now + linkMs) return 'over';
    return browser !== undefined && digestOf(browser) === row.browser ? 'good' : 'other browser';
  }

  private row(secret: string): LinkRow | undefined {
    const row = this.store
      .prepare('SELECT browser, email, next, expires_at, used_at FROM magic_links WHERE hash = ?')
      .get(digestOf(secret));
    return row === undefined ? undefined : Row.parse(row);
  }
}

/** @param publicUrl of the configuration: what a request says of the server's name is not asked */
export function linkMail(to: string, publicUrl: string, secret: string): Mail {
  const url = `${publicUrl}/auth/magic-link/${secret}`;
  const { host } = new URL(publicUrl);
  const lines = [
    `Somebody, probably you, wants to sign in to the Sallyport runner ${host}.`,
    'The link works once, for 10 minutes, and only in the browser in which it was asked for.',
    'If it was not you, do nothing: nobody can sign in with this address but who can read this mail.',
  ];
  return {
    to,
    subject: `Sign in to ${host}`,
    text: `${lines[0] ?? ''}\n\n${url}\n\n${lines.slice(1).join('\n')}\n`,
    html:
      `<p>${escaped(lines[0] ?? '')}</p><p><a href="${escaped(url)}">Sign in</a></p>` +
      `<p>${lines.slice(1).map(escaped).join('<br>')}</p>`,
  };
}
