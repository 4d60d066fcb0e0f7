import * as http from 'node:http';
import * as https from 'node:https';
import { BlockList, isIPv6 } from 'node:net';
import type { Disposable } from '../base/disposable.ts';
import type { NetworkWay } from '../protocol/control.ts';
import { agentThrough } from './egress/networkWay.ts';
import { ModelFailure, type ModelBackend, type ModelRequest } from './modelBackend.ts';
import { authorized, endpointOf, type RealUpstream } from './modelEndpoint.ts';
import { answerHeaders, onwardHeaders } from './modelHeaders.ts';

/**
 * Addresses at which clouds hand out credentials: never a model's, whatever the user configured or a name resolves to.
 * Other private addresses may well be.
 */
const metadata = new BlockList();
metadata.addSubnet('169.254.0.0', 16, 'ipv4');
metadata.addAddress('100.100.100.200', 'ipv4');
metadata.addSubnet('fe80::', 10, 'ipv6');
for (const address of ['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254']) metadata.addAddress(address, 'ipv6');

export function isMetadata(address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  return metadata.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4');
}

const metadataNames = /^(metadata\.google\.internal|metadata|instance-data(\..*)?)\.?$/i;

/** A name or an address, as somebody wrote it, behind which a cloud hands out credentials. */
export function isMetadataName(host: string): boolean {
  return metadataNames.test(host) || (/^[\d.]+$|:/.test(host) && isMetadata(host));
}

/** Connections to models' services, kept for the next request, whatever credential that one shows. */
export class ModelConnections implements Disposable {
  private readonly network: NetworkWay;
  private readonly authorities: string[] | undefined;
  private readonly agents = new Map<boolean, http.Agent>();

  /** @param authorities PEM; the public ones and the system's when they are not given */
  constructor(network: NetworkWay, authorities?: string[]) {
    this.network = network;
    this.authorities = authorities;
  }

  agent(secure: boolean): http.Agent {
    const { network, authorities: ca } = this;
    const agent = this.agents.get(secure) ?? agentThrough(network, secure, ca === undefined ? {} : { ca });
    this.agents.set(secure, agent);
    return agent;
  }

  dispose(): void {
    for (const agent of this.agents.values()) agent.destroy();
    this.agents.clear();
  }
}

/** The model's service itself. Passes requests on with the real credential, and streams answers; follows no redirect. */
export function remoteModel(upstream: RealUpstream, connections: ModelConnections): ModelBackend {
  const base = endpointOf(upstream);
  const secure = base.protocol === 'https:';
  const host = base.hostname.replace(/^\[|\]$/g, '');
  const port = base.port === '' ? (secure ? 443 : 80) : Number(base.port);
  const prefix = base.pathname.replace(/\/+$/, '');

  return {
    local: false,
    host,
    port,
    ask: async (request, signal) => {
      // A connection through a proxy shows the proxy's address, so what the user wrote is looked at too.
      if (isMetadataName(host)) throw noModelThere();
      const answer = await headOf(begin(request, signal)).catch((thrown: unknown) => {
        // The service ended a connection that was kept, in the very moment in which it was used again.
        if (thrown instanceof StaleConnection) return headOf(begin(request, signal));
        throw thrown;
      });
      const status = answer.statusCode ?? 502;
      if (status >= 300 && status < 400) {
        answer.destroy();
        throw new ModelFailure(
          502,
          `The model's endpoint answered with a redirect (HTTP ${status}), which is not followed.`,
        );
      }
      return { status, headers: answerHeaders(answer.headers), body: answer, free: false };
    },
  };

  function begin({ call, method, headers, body }: ModelRequest, signal: AbortSignal): http.ClientRequest {
    const path = `${prefix}${call.path}`;
    const ours = authorized(upstream, {
      method,
      host: base.host,
      path,
      headers: onwardHeaders(headers),
      body,
    });
    const onward = (secure ? https : http).request({
      agent: connections.agent(secure),
      host,
      port,
      method,
      path,
      signal,
      headers: {
        ...ours,
        host: base.host,
        'accept-encoding': 'identity',
        ...(method === 'GET' ? {} : { 'content-length': body.length }),
      },
    });
    onward.end(body);
    return onward;
  }
}

function noModelThere(): ModelFailure {
  return new ModelFailure(
    502,
    "The model's endpoint is an address at which a cloud hands out credentials, where no model is.",
  );
}

class StaleConnection extends ModelFailure {}

/** The head of the answer. Throws `ModelFailure` when none comes. */
function headOf(onward: http.ClientRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    onward.once('response', resolve);
    onward.once('socket', (socket) => {
      if (socket.remoteAddress !== undefined && isMetadata(socket.remoteAddress))
        onward.destroy(noModelThere());
    });
    // It stays there: what comes after the head ends the answer, not the program.
    onward.on('error', (error: NodeJS.ErrnoException) => {
      if (error instanceof ModelFailure) {
        reject(error);
        return;
      }
      // The text of the error can hold an address; its code is enough.
      const reason = /^[A-Z_0-9]+$/.test(error.code ?? '') ? ` (${error.code ?? ''})` : '';
      const stale = onward.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      const Failure = stale ? StaleConnection : ModelFailure;
      reject(new Failure(502, `The model's endpoint could not be reached from the gateway${reason}.`));
    });
  });
}
