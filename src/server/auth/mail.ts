import { createTransport } from 'nodemailer';
import { SallyportError } from '../../base/errors.ts';
import type { ServerConfig } from '../config.ts';
import { isLoopbackName } from '../operation/readConfig.ts';
import { reasonOf } from './answers.ts';

export interface Mail {
  /** One address, of the grammar of `emailOf`. */
  to: string;
  subject: string;
  text: string;
  html: string;
}

const patienceMs = 20_000;
const grammar =
  /^[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$/;

/**
 * An e-mail address in lower case, or undefined for what is none. Only plain ASCII passes: no quotes, lists, names,
 * comments or line breaks that could make a second address or a header of it.
 */
export function emailOf(text: string): string | undefined {
  // Letters such as the sign of Kelvin become others in lower case.
  const plain = /^[\x20-\x7e]{3,254}$/.test(text) ? text.trim().toLowerCase() : '';
  return grammar.test(plain) && !/^\.|\.\.|\.@/.test(plain) ? plain : undefined;
}

/** Sends by SMTP or by Resend, as the server is set up. Throws `mail_failed`. */
export async function sendMail(
  config: NonNullable<ServerConfig['mail']>,
  mail: Mail,
  signal: AbortSignal,
): Promise<void> {
  if (emailOf(mail.to) !== mail.to || /[\r\n]/.test(mail.subject + config.from)) {
    throw new SallyportError('invalid_input', 'That is no e-mail address.', 'Check its spelling.');
  }
  try {
    await (config.kind === 'smtp' ? sendBySmtp(config, mail, signal) : sendByResend(config, mail, signal));
  } catch (thrown) {
    if (thrown instanceof SallyportError) throw thrown;
    throw failed(reasonOf(thrown), thrown);
  }
}

async function sendBySmtp(
  { url, from }: { url: string; from: string },
  mail: Mail,
  signal: AbortSignal,
): Promise<void> {
  const { protocol, hostname, username, searchParams } = new URL(url);
  // A password must not go over an open line because somebody on the way says that there is no TLS.
  const requireTLS =
    protocol === 'smtp:' &&
    username !== '' &&
    !isLoopbackName(hostname) &&
    !searchParams.has('ignoreTLS') &&
    !searchParams.has('requireTLS');
  const transport = createTransport({
    url,
    ...(requireTLS ? { requireTLS } : {}),
    connectionTimeout: patienceMs,
    greetingTimeout: patienceMs,
    socketTimeout: patienceMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const stop = (): void => transport.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await transport.sendMail({ from, ...mail });
  } finally {
    signal.removeEventListener('abort', stop);
    transport.close();
  }
}

async function sendByResend(
  { apiKey, from, baseUrl }: { apiKey: string; from: string; baseUrl: string },
  mail: Mail,
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(`${baseUrl}/emails`, {
    method: 'POST',
    redirect: 'error',
    signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]),
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ from, to: [mail.to], subject: mail.subject, html: mail.html, text: mail.text }),
  });
  await response.body?.cancel();
  if (!response.ok) throw failed(`status ${response.status}`);
}

function failed(reason: string, cause?: unknown): SallyportError {
  return new SallyportError(
    'mail_failed',
    `The mail could not be sent (${reason}).`,
    'Try again later, or ask an administrator to look at the mail settings of the server.',
    { cause },
  );
}
