import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { classify, type Classify } from '../base/addresses.ts';
import type { Disposable } from '../base/disposable.ts';
import type { NetworkWay } from '../protocol/control.ts';
import type { EgressPolicy } from '../protocol/egress.ts';
import { BodyServer } from './egress/bodyServer.ts';
import { finish } from './egress/client.ts';
import { readPolicy, type ReadPolicy } from './egress/decision.ts';
import { Exchange, type Shared } from './egress/exchange.ts';
import { Holds } from './egress/holds.ts';
import { EgressLedger } from './egress/ledger.ts';
import { defaultLimits, type Limits } from './egress/limits.ts';
import { refusal, refusalAnswer } from './egress/refusal.ts';
import { systemResolver, type Resolve } from './egress/resolver.ts';
import { WayFinder } from './egress/way.ts';
import type { GatewayLog } from './eventLog.ts';

export interface EgressOptions {
  policy: EgressPolicy;
  /** Hosts to which the user said no. */
  refused: string[];
  /** How long a request that no rule lets through waits for the user's answer, in milliseconds. */
  holdMs: number;
  network: NetworkWay;
  log: GatewayLog;
}

/** What a test replaces. */
export interface EgressSeams {
  resolve?: Resolve;
  classify?: Classify;
  limits?: Partial<Limits>;
}

/**
 * The sandbox's only way to anything but its model: an HTTP/1.1 proxy on a unix socket, for plain HTTP and for TLS in
 * tunnels. Each request is decided by the policy, and each is in the ledger.
 */
export class EgressProxy implements Disposable {
  private readonly server: Server;
  private readonly socketPath: string;
  private readonly shared: Shared;
  private readonly exchanges = new Map<Socket, Exchange>();
  /** Connections that were turned away and are not closed yet. */
  private readonly leaving = new Set<Socket>();
  private policy: ReadPolicy;

  private constructor(socketPath: string, options: EgressOptions, seams: EgressSeams) {
    const limits = { ...defaultLimits, ...seams.limits };
    const { resolve = systemResolver, classify: classifyOne = classify } = seams;
    this.socketPath = socketPath;
    this.policy = readPolicy(options.policy, options.refused);
    this.shared = {
      policy: () => this.policy,
      holds: new Holds(options.holdMs, limits),
      ledger: new EgressLedger(options.log, limits),
      ways: new WayFinder({ network: options.network, limits, resolve, classify: classifyOne }),
      bodies: new BodyServer(),
      limits,
    };
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.accept(socket));
  }

  /** Listens on the socket, which is created anew. Throws `invalid_input` for a proxy that cannot be used. */
  static async listen(
    socketPath: string,
    options: EgressOptions,
    seams: EgressSeams = {},
  ): Promise<EgressProxy> {
    const proxy = new EgressProxy(socketPath, options, seams);
    rmSync(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      proxy.server.once('error', reject);
      proxy.server.listen(socketPath, resolve);
    });
    // The sandbox's agent is another user than the gateway; nobody else sees the volume.
    chmodSync(socketPath, 0o666);
    return proxy;
  }

  /** Takes effect at once: for requests that wait, and for open ones that would not be allowed any more. */
  setPolicy(policy: EgressPolicy, refused: string[]): void {
    this.policy = readPolicy(policy, refused);
    this.shared.holds.changed();
    for (const exchange of [...this.exchanges.values()]) exchange.policyChanged();
  }

  dispose(): void {
    this.server.close();
    for (const exchange of [...this.exchanges.values()]) exchange.dispose();
    for (const socket of [...this.leaving]) socket.destroy();
    this.shared.holds.dispose();
    this.shared.ledger.dispose();
    rmSync(this.socketPath, { force: true });
  }

  private accept(socket: Socket): void {
    const { limits, ledger } = this.shared;
    if (this.exchanges.size >= limits.connections) {
      ledger.turnAway();
      this.turnAway(socket);
      return;
    }
    const exchange = new Exchange(socket, this.shared);
    this.exchanges.set(socket, exchange);
    socket.once('close', () => this.exchanges.delete(socket));
    void exchange.run();
  }

  private turnAway(socket: Socket): void {
    const { connections, lingerMs } = this.shared.limits;
    socket.on('error', () => undefined);
    // Saying so needs a socket too.
    if (this.leaving.size >= connections) {
      socket.destroy();
      return;
    }
    this.leaving.add(socket);
    socket.once('close', () => this.leaving.delete(socket));
    const text = `This sandbox has ${connections} connections open already; try again when some are closed.`;
    finish(socket, refusalAnswer(refusal('too_many', text)), lingerMs);
  }
}
