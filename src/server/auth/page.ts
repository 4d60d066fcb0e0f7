import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:15vh auto;padding:0 1.5rem;color-scheme:light dark}
h1{font-size:1.3rem}button{font:inherit;padding:.6rem 1.2rem;cursor:pointer}`;
const styleHash = createHash('sha256').update(style).digest('base64');

interface Page {
  status: number;
  title: string;
  text: string;
  /** A button that posts, or a link to go on with. */
  button?: { action: string; label: string };
  link?: { href: string; label: string };
}

/**
 * The few pages that are not the dashboard's: what a link in a mail opens, and where a sign-in that goes by another site
 * ends when it fails. No script.
 */
export async function sendPage(reply: FastifyReply, page: Page): Promise<undefined> {
  const { status, title, text, button, link } = page;
  const form =
    button === undefined
      ? ''
      : `<form method="post" enctype="text/plain" action="${escaped(button.action)}"><button>${escaped(button.label)}</button></form>`;
  const anchor =
    link === undefined ? '' : `<p><a href="${escaped(link.href)}">${escaped(link.label)}</a></p>`;
  await reply
    .status(status)
    .type('text/html; charset=utf-8')
    // With no referrer at all a browser would not say either from which page the form comes.
    .header('referrer-policy', 'same-origin')
    .header(
      'content-security-policy',
      `default-src 'none'; style-src 'sha256-${styleHash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'`,
    )
    .send(
      `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
        `<title>${escaped(title)} · Sallyport</title><style>${style}</style>` +
        `<h1>${escaped(title)}</h1><p>${escaped(text)}</p>${form}${anchor}</html>`,
    );
  return undefined;
}

export function escaped(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replaceAll(/[&<>"']/g, (sign) => entities[sign] ?? '');
}
