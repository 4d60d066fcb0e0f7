import type { Agent } from 'node:http';
import { WebSocket } from 'ws';
import { makeAgent, type RunnerAccess } from './runnerHttp.ts';

const handshakeMs = 20_000;

/**
 * Opens a WebSocket of the runner's, with its credential and by the way that leads there.
 * @param url an address below the runner's own, as http or https
 * @param maxPayload longest frame that is taken, in bytes
 * @returns `agent` is to be destroyed when the socket is done with
 */
export function openSocket(
  access: RunnerAccess,
  url: URL,
  token: string,
  maxPayload: number,
): { socket: WebSocket; agent: Agent } {
  const address = new URL(url);
  address.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const { agent, trust } = makeAgent(access.url, access.way(access.url), false);
  const socket = new WebSocket(address, {
    headers: { authorization: `Bearer ${token}` },
    agent,
    ...trust,
    maxPayload,
    handshakeTimeout: handshakeMs,
    perMessageDeflate: false,
    followRedirects: false,
  });
  return { socket, agent };
}
