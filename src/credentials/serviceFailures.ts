import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { codeOf } from './reach.ts';

/** A model service, as far as sentences about its failures need it. */
export interface Service {
  kind: 'anthropic' | 'third-party' | 'bedrock' | 'vertex';
  /** For people: a host name. */
  name: string;
  /** What is shown to it, for people: "The Anthropic API key from ANTHROPIC_API_KEY". */
  credential: string;
}

const ErrorBody = z.looseObject({
  error: z.optional(z.union([z.string(), z.looseObject({})])),
  message: z.optional(z.string()),
  Message: z.optional(z.string()),
});
const ErrorFields = z.looseObject({
  type: z.optional(z.string()),
  status: z.optional(z.string()),
  message: z.optional(z.string()),
});

/**
 * What a refusal of a service means. Nothing that the service wrote is told on, because it may quote what it was shown;
 * it only helps to choose the sentence.
 */
export function failureOf(
  service: Service,
  status: number,
  body: string,
  retryAfter?: string,
): SallyportError {
  const text = wordsOf(body);
  const { name, credential } = service;
  const says = `${name} answers HTTP ${status}`;
  if (status === 402 || /credit balance|insufficient (?:funds|credit|quota)|billing|payment/.test(text)) {
    return new SallyportError(
      'capacity_reached',
      `${says}: the account has no credit.`,
      'Add credit in the console of the service, or choose another credential.',
    );
  }
  if (
    [429, 529, 503].includes(status) ||
    /usage limit|rate.?limit|overloaded|throttl|quota exceeded|resource_exhausted/.test(text)
  ) {
    const busy = status === 529 || status === 503 || text.includes('overloaded');
    const limit = text.includes('usage limit');
    const seconds = /^\d{1,7}$/.test(retryAfter ?? '') ? Number(retryAfter) : undefined;
    const when = seconds === undefined ? 'later' : `in ${spell(seconds)}`;
    return new SallyportError(
      'capacity_reached',
      `${says}: ${busy ? 'it is overloaded' : limit ? 'the usage limit of the account is reached' : 'too many requests, or the limit of the account is reached'}.`,
      `Try again ${when}${busy ? '' : ', or choose another credential'}.`,
    );
  }
  if (status === 407) return unreachable(service, 'PROXY_407');
  if (
    /(?:token|session|credential)s? (?:has |have |is |included in the request is )?expired|expiredtoken/.test(
      text,
    )
  ) {
    return new SallyportError('auth_expired', `${says}: ${lower(credential)} has expired.`, renewal(service));
  }
  if (
    service.kind === 'vertex' &&
    status === 403 &&
    /has not been used|is disabled|service_disabled/.test(text)
  ) {
    return new SallyportError(
      'not_enabled',
      `${says}: the Vertex AI API is not enabled in the project.`,
      'Enable it: `gcloud services enable aiplatform.googleapis.com`.',
    );
  }
  if (service.kind === 'vertex' && (status === 403 || status === 404)) {
    return new SallyportError(
      'not_enabled',
      `${says}: the model is not enabled in this project and region, or the account may not use it.`,
      'Enable the model in the Model Garden of Vertex AI, choose a region that has it, and give the account the role Vertex AI User.',
    );
  }
  const unknownKey =
    /security token|signature|unrecognizedclient|invalid.{0,20}(?:key|token|credential)|authentication/;
  if (service.kind === 'bedrock' && [400, 403, 404].includes(status) && !unknownKey.test(text)) {
    return new SallyportError(
      'not_enabled',
      `${says}: the account has no access to this model in this region, or the role may not invoke it.`,
      'Request access to the model in the Bedrock console, use an inference profile of the region, and allow bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream.',
    );
  }
  if (/organization has been disabled|account.{0,30}(?:disabled|suspended)/.test(text)) {
    return new SallyportError(
      'not_enabled',
      `${says}: the account is disabled.`,
      'Ask the service why, or choose another credential.',
    );
  }
  if (status === 401 || (status === 403 && unknownKey.test(text))) {
    return new SallyportError(
      'auth_refused',
      `${says}: it does not accept ${lower(credential)}.`,
      renewal(service),
    );
  }
  if (status === 403) {
    return new SallyportError(
      'not_enabled',
      `${says}: ${lower(credential)} has no permission for this model.`,
      'Allow it in the console of the service, or choose another model or credential.',
    );
  }
  if (status === 404) {
    return new SallyportError(
      'not_enabled',
      `${says}: it does not know the model.`,
      'Name a model that the service has (sallyport.model.name).',
    );
  }
  if (status >= 300 && status < 400) {
    return new SallyportError(
      'model_unreachable',
      `${says}: a redirect, which is not followed with a credential.`,
      'Correct the base URL; or sign in to the network, if it has a page for that.',
    );
  }
  return new SallyportError(
    'model_unreachable',
    `${says}, where another answer was expected.`,
    status >= 500 ? 'Try again in some minutes.' : 'Check the base URL and the name of the model.',
  );
}

const tlsCode = /CERT|SSL|TLS|ERR_OSSL|SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY)|EPROTO|ALTNAME/;

/** What a failure of the network on the way to a service means, from its code alone. */
export function unreachable({ name }: Pick<Service, 'name'>, code: string): SallyportError {
  const failure = (what: string, mend: string): SallyportError =>
    new SallyportError('model_unreachable', `${name} ${what} (${code}).`, mend);
  const proxy = /^PROXY_(\d+)$/.exec(code)?.[1];
  if (proxy === '407')
    return failure(
      'cannot be reached: the proxy wants a name and a password',
      'Put them into HTTPS_PROXY: http://name:password@host:port.',
    );
  if (proxy !== undefined)
    return failure(
      'cannot be reached: the proxy refuses',
      'Ask who runs the proxy, or except the host in NO_PROXY.',
    );
  if (['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'].includes(code))
    return failure(
      'cannot be found: its name does not resolve',
      'Check the network and its DNS, and the host in the base URL. Behind a proxy, set HTTPS_PROXY.',
    );
  if (tlsCode.test(code))
    return failure(
      'shows a certificate that this machine does not trust, or speaks no TLS',
      "Behind a company's proxy, name its authority in NODE_EXTRA_CA_CERTS.",
    );
  if (['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT'].includes(code))
    return failure('does not answer in time', 'Check the network. Behind a proxy, set HTTPS_PROXY.');
  if (code === 'ECONNREFUSED')
    return failure(
      'refuses the connection',
      'See that the service runs, and check the base URL and the proxy (HTTPS_PROXY).',
    );
  return failure('cannot be reached', 'Check the network, the base URL and the proxy (HTTPS_PROXY).');
}

/** The same for whatever was thrown; an abort of the caller's stays one. */
export function unreachableBy(service: Pick<Service, 'name'>, thrown: unknown, signal?: AbortSignal): Error {
  if (thrown instanceof SallyportError) return thrown;
  if (signal?.aborted === true) return new DOMException('Aborted', 'AbortError');
  return unreachable(service, codeOf(thrown));
}

function renewal({ kind }: Service): string {
  switch (kind) {
    case 'bedrock':
      return 'Get new AWS credentials: `aws sso login --profile …`, new keys, or a new Bedrock API key.';
    case 'vertex':
      return 'Run `gcloud auth application-default login`.';
    case 'anthropic':
      return 'Set a new key or token, or run `claude` and log in again.';
    case 'third-party':
      return 'Set a new token, and see that it belongs to this base URL.';
  }
}

/** Type, status and message of an error, for choosing a sentence; never for showing. */
function wordsOf(body: string): string {
  let json: unknown;
  try {
    json = JSON.parse(body.slice(0, 100_000));
  } catch {
    return '';
  }
  const parsed = ErrorBody.safeParse(Array.isArray(json) ? json[0] : json);
  if (!parsed.success) return '';
  const { error, message, Message } = parsed.data;
  const fields = ErrorFields.safeParse(error);
  const inner = fields.success ? [fields.data.type, fields.data.status, fields.data.message] : [];
  return [typeof error === 'string' ? error : undefined, message, Message, ...inner]
    .filter((part) => part !== undefined)
    .join(' ')
    .toLowerCase();
}

function lower(text: string): string {
  return /^(?:The|An?) /.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}

function spell(seconds: number): string {
  if (seconds < 120) return `${seconds} seconds`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} minutes` : `${Math.round(seconds / 3600)} hours`;
}
