import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';

/**
 * What of the agent's headers goes on: what is content, and what names the client. All else stays here: credentials
 * (`authorization`, `x-api-key`, `x-amz-*`, `x-goog-*`, cookies), what belongs to one connection, and what would speak for
 * somebody (`x-forwarded-*`). `accept-encoding` too: the answer is read on its way.
 */
const passedOn =
  /^(accept|content-type|user-agent|x-app|anthropic-[a-z-]{1,60}|x-stainless-[a-z-]{1,60}|x-claude-code-[a-z-]{1,60})$/;

export function onwardHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && passedOn.test(name)) kept[name] = String(value);
  }
  return kept;
}

/** Headers of an answer that belong to one connection, and those that would keep something at the client. */
const notAnswered = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'set-cookie',
  'www-authenticate',
  'alt-svc',
]);

export function answerHeaders(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = (headers.connection ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  return Object.fromEntries(
    Object.entries(headers).filter(
      ([name, value]) => value !== undefined && !notAnswered.has(name) && !named.includes(name),
    ),
  );
}
