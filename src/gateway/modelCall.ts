import type { Upstream } from '../protocol/control.ts';

/** What a request to the model's service asks for, read from its method and path alone. */
export interface ModelCall {
  /** `message` costs money; the others do not. */
  kind: 'message' | 'count' | 'models';
  /** The path at the service, percent-encoded as it is sent and signed, with its query. */
  path: string;
  /** Where the path names it. */
  model?: string;
  /** True where the path says that the answer is a stream; otherwise the body does. */
  streams?: boolean;
  framing: Framing;
}

/** How a stream of events is written: server-sent events, or Amazon's event stream. */
export type Framing = 'sse' | 'eventstream';

/** Undefined for what may not pass. `query` begins with a question mark, or is empty. */
export type ModelRoute = (method: string, path: string, query: string) => ModelCall | undefined;

/** The paths of the configured service; no other service's pass. Pure. */
export function modelRoute(upstream: Upstream): ModelRoute {
  switch (upstream.kind) {
    case 'bedrock':
      return bedrockRoute;
    case 'vertex':
      return vertexRoute(upstream.project, upstream.region);
    default:
      return anthropicRoute;
  }
}

const anthropicPaths: Record<string, { method: string; kind: ModelCall['kind'] }> = {
  '/v1/messages': { method: 'POST', kind: 'message' },
  '/v1/messages/count_tokens': { method: 'POST', kind: 'count' },
  '/v1/models': { method: 'GET', kind: 'models' },
};

/** `?beta=true`, and what pages through models. */
const plainQuery = /^(\?[\w.=&-]{1,200})?$/;

function anthropicRoute(method: string, path: string, query: string): ModelCall | undefined {
  const known = Object.hasOwn(anthropicPaths, path) ? anthropicPaths[path] : undefined;
  if (known?.method !== method || !plainQuery.test(query)) return undefined;
  return { kind: known.kind, path: path + query, framing: 'sse' };
}

/** Claude's models and the inference profiles across regions: `eu.anthropic.claude-opus-4-5-20251101-v1:0`. */
const bedrockModel =
  /^([a-z-]{2,12}\.)?anthropic\.[a-zA-Z0-9-]{1,63}(\.[a-zA-Z0-9-]{1,63})?(:\w{1,10}){0,2}$/;
/** Names of such models and profiles in full, and the profiles and provisioned models of an account. */
const bedrockArn =
  /^arn:aws(-[a-z-]{1,12})?:bedrock:[a-z0-9-]{1,20}:(\d{12})?:((foundation-model|inference-profile)\/([a-z-]{2,12}\.)?anthropic\.[a-zA-Z0-9.:-]{1,80}|(application-inference-profile|provisioned-model)\/[a-zA-Z0-9]{1,64})$/;
const bedrockActions: Record<string, Pick<ModelCall, 'kind' | 'streams'>> = {
  invoke: { kind: 'message', streams: false },
  'invoke-with-response-stream': { kind: 'message', streams: true },
  'count-tokens': { kind: 'count', streams: false },
};

function bedrockRoute(method: string, path: string, query: string): ModelCall | undefined {
  const [root, folder, name = '', action = '', ...rest] = path.split('/');
  if (method !== 'POST' || query !== '' || root !== '' || folder !== 'model' || rest.length > 0)
    return undefined;
  const model = decoded(name);
  const known = Object.hasOwn(bedrockActions, action) ? bedrockActions[action] : undefined;
  if (known === undefined || !(bedrockModel.test(model) || bedrockArn.test(model))) return undefined;
  // Written anew, so that what is signed is what is sent, however the client encoded it.
  return { ...known, path: `/model/${encodeURIComponent(model)}/${action}`, model, framing: 'eventstream' };
}

const vertexModel = /^claude-[a-z0-9.-]{1,60}(@[a-z0-9-]{1,20})?$/;

function vertexRoute(project: string, region: string): ModelRoute {
  const folder = `/v1/projects/${project}/locations/${region}/publishers/anthropic/models/`;
  return (method, path, query) => {
    if (method !== 'POST' || query !== '' || !path.startsWith(folder)) return undefined;
    const name = path.slice(folder.length);
    if (name === 'count-tokens:rawPredict') return { kind: 'count', path, framing: 'sse' };
    const [, written = '', action] = /^([^:/]+):(rawPredict|streamRawPredict)$/.exec(name) ?? [];
    const model = decoded(written);
    if (action === undefined || !vertexModel.test(model)) return undefined;
    return { kind: 'message', path: `${folder}${model}:${action}`, model, framing: 'sse' };
  };
}

/** Undoes one level of percent-encoding; an empty string where there is none that can be undone. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
