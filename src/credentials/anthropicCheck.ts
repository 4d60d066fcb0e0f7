import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import type { Upstream } from '../protocol/control.ts';
import { isAnthropic } from './credential.ts';
import { parseJson } from './privateFile.ts';
import { failureOf, type Service, unreachableBy } from './serviceFailures.ts';

type Anthropic = Extract<Upstream, { kind: 'anthropic' }>;

const requestMs = 20_000;

const Models = z.looseObject({ data: z.array(z.looseObject({ id: z.string() })) });

export interface CheckOptions {
  deep: boolean;
  /** Name of the model for a deep check; a small one of the service's list without it. */
  model?: string;
  /** For people. */
  label: string;
  fetch: typeof fetch;
  signal?: AbortSignal;
}

/**
 * Asks a service that speaks Anthropic's API whether it takes the credential: for its list of models, which costs
 * nothing; with `deep` also for one token.
 * @throws SallyportError auth_expired, auth_refused, capacity_reached, not_enabled, model_unreachable
 */
export async function checkAnthropic({ baseUrl, auth }: Anthropic, options: CheckOptions): Promise<void> {
  const own = isAnthropic(baseUrl);
  const service: Service = {
    kind: own ? 'anthropic' : 'third-party',
    name: URL.parse(baseUrl)?.host ?? 'The model service',
    credential: options.label,
  };
  const headers: Record<string, string> = { 'anthropic-version': '2023-06-01', accept: 'application/json' };
  if (auth.type === 'api_key') headers['x-api-key'] = auth.value;
  else headers['authorization'] = `Bearer ${auth.value}`;
  if (auth.type === 'oauth') headers['anthropic-beta'] = 'oauth-2025-04-20';

  const ask = async (
    path: string,
    body?: object,
  ): Promise<{ status: number; text: string; retryAfter?: string }> => {
    const timeout = AbortSignal.timeout(requestMs);
    try {
      const response = await options.fetch(`${baseUrl}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        redirect: 'manual',
        signal: options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]),
      });
      const retryAfter = response.headers.get('retry-after');
      return {
        status: response.status,
        text: await response.text(),
        ...(retryAfter === null ? {} : { retryAfter }),
      };
    } catch (thrown) {
      throw unreachableBy(service, thrown, options.signal);
    }
  };

  const list = await ask(
    options.deep && options.model === undefined ? '/v1/models?limit=100' : '/v1/models?limit=1',
  );
  const scopeOnly = auth.type === 'oauth' && list.status === 403 && /scope/i.test(list.text);
  // Other services need not have a list of models, and a token of `claude setup-token` may not be good for it.
  const tolerated = scopeOnly || (!own && [404, 405, 501].includes(list.status));
  if (list.status !== 200 && !tolerated) throw failureOf(service, list.status, list.text, list.retryAfter);
  if (list.status === 200 && own && !Models.safeParse(parseJson(list.text)).success) {
    throw new SallyportError(
      'model_unreachable',
      `Something else answers in the place of ${service.name}.`,
      'Sign in to the network, if it has a page for that, and check the proxy (HTTPS_PROXY).',
    );
  }
  if (!options.deep) return;
  const model = options.model ?? smallModel(list.text);
  if (model === undefined) {
    throw new SallyportError(
      'not_enabled',
      `${service.name} tells no list of models, so no request can be tried.`,
      'Name the model (sallyport.model.name).',
    );
  }
  const answer = await ask('/v1/messages', {
    model,
    max_tokens: 1,
    messages: [{ role: 'user', content: 'Hi' }],
  });
  if (answer.status === 200) return;
  // It was accepted as what it is: good for the agent, not for others.
  if (auth.type === 'oauth' && /only authorized for use with claude code/i.test(answer.text)) return;
  throw failureOf(service, answer.status, answer.text, answer.retryAfter);
}

/** The newest of the smallest, as Anthropic names them; else the first. */
function smallModel(text: string): string | undefined {
  const models = Models.safeParse(parseJson(text));
  const ids = models.success ? models.data.data.map(({ id }) => id) : [];
  return ids.find((id) => id.includes('haiku')) ?? ids[0];
}
