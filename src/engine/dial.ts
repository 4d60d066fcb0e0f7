import { readFileSync } from 'node:fs';
import Docker from 'dockerode';
import type { Endpoint } from './discovery.ts';

/**
 * A dockerode client of an endpoint. Every option that dockerode would take from the environment is given, so that
 * DOCKER_HOST cannot bend another choice. `apiVersion` ("1.41") is put before each path.
 */
export function dial(
  endpoint: Endpoint,
  env: Readonly<Record<string, string | undefined>>,
  apiVersion?: string,
): Docker {
  const version = apiVersion === undefined ? undefined : `v${apiVersion}`;
  const unset = {
    host: undefined,
    port: undefined,
    socketPath: undefined,
    ca: undefined,
    cert: undefined,
    key: undefined,
  };
  return new Docker({
    ...unset,
    protocol: 'http',
    version,
    ...options(endpoint, env),
  });
}

function options(endpoint: Endpoint, env: Readonly<Record<string, string | undefined>>): object {
  switch (endpoint.type) {
    case 'socket':
      return { socketPath: endpoint.path };
    case 'tcp': {
      const { host, port, tls } = endpoint;
      if (tls === undefined) return { host, port };
      const [ca, cert, key] = [readFileSync(tls.ca), readFileSync(tls.cert), readFileSync(tls.key)];
      return { host, port, protocol: 'https', ca, cert, key };
    }
    case 'ssh':
      return {
        host: endpoint.host,
        port: endpoint.port,
        username: endpoint.username,
        protocol: 'ssh',
        sshOptions: { agent: env['SSH_AUTH_SOCK'] },
      };
  }
}

const statusCodes = {
  200: true,
  101: true,
  400: 'bad parameter',
  404: 'not found',
  409: 'conflict',
  500: 'server error',
};

/**
 * A request without a body. Not through dockerode's own methods, because those that stream send their options as a body
 * too, and Podman hands that to an attached container as its stdin; others take no AbortSignal.
 */
export function ask(
  docker: Docker,
  method: 'GET' | 'POST',
  path: string,
  options: { isStream?: boolean; signal: AbortSignal },
): Promise<unknown> {
  // The modem cuts the last character off a path with parameters and no options.
  const whole = path.includes('?') ? `${path}&` : path;
  const { isStream = false, signal: abortSignal } = options;
  return new Promise((resolve, reject) => {
    docker.modem.dial({ path: whole, method, isStream, abortSignal, statusCodes }, (error, answer) => {
      if (error instanceof Error) reject(error);
      else resolve(answer);
    });
  });
}
