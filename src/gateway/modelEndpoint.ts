import type { Upstream } from '../protocol/control.ts';
import { signForBedrock, type SignedRequest } from './bedrockSignature.ts';

export type RealUpstream = Extract<Upstream, { kind: 'anthropic' | 'bedrock' | 'vertex' }>;

const oauthBeta = 'oauth-2025-04-20';

/** Where the service listens: the configured address, or the service's own. Paths are put behind it. */
export function endpointOf(upstream: RealUpstream): URL {
  switch (upstream.kind) {
    case 'anthropic':
      return new URL(upstream.baseUrl);
    case 'bedrock': {
      const { region, endpoint } = upstream;
      const suffix = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
      return new URL(endpoint ?? `https://bedrock-runtime.${region}.${suffix}`);
    }
    case 'vertex':
      return new URL(upstream.endpoint ?? vertexAddress(upstream.region));
  }
}

/** `global`, the multi-regions and regions each have an address of their own form. */
function vertexAddress(region: string): string {
  if (region === 'global') return 'https://aiplatform.googleapis.com';
  if (region === 'us' || region === 'eu') return `https://aiplatform.${region}.rep.googleapis.com`;
  return `https://${region}-aiplatform.googleapis.com`;
}

/** The headers of a request with the credential among them. `headers` are those that may go on. */
export function authorized(upstream: RealUpstream, request: SignedRequest): Record<string, string> {
  const { headers } = request;
  switch (upstream.kind) {
    case 'anthropic':
      return anthropicHeaders(headers, upstream.auth);
    case 'bedrock':
      return upstream.auth.type === 'bearer'
        ? { ...headers, authorization: `Bearer ${upstream.auth.value}` }
        : signForBedrock(request, upstream.region, upstream.auth);
    case 'vertex':
      return { ...headers, authorization: `Bearer ${upstream.accessToken}` };
  }
}

function anthropicHeaders(
  headers: Record<string, string>,
  auth: Extract<RealUpstream, { kind: 'anthropic' }>['auth'],
): Record<string, string> {
  switch (auth.type) {
    case 'api_key':
      return { ...headers, 'x-api-key': auth.value };
    case 'bearer':
      return { ...headers, authorization: `Bearer ${auth.value}` };
    case 'oauth': {
      const betas = (headers['anthropic-beta'] ?? '')
        .split(',')
        .map((beta) => beta.trim())
        .filter((beta) => beta !== '' && beta !== oauthBeta);
      return {
        ...headers,
        authorization: `Bearer ${auth.value}`,
        'anthropic-beta': [...betas, oauthBeta].join(','),
      };
    }
  }
}
