import type { Disposable } from '../base/disposable.ts';
import { startRelay, type Relay } from './relay.ts';

/** The gateway's two sockets as ports on the loopback. */
export interface Relays extends Disposable {
  model: Relay;
  proxy: Relay;
}

/** Rejects when one of the sockets does not answer in time, and leaves none open then. */
export async function startRelays(
  {
    modelSocket,
    proxySocket,
    socketWaitMs,
  }: { modelSocket: string; proxySocket: string; socketWaitMs: number },
  signal: AbortSignal,
): Promise<Relays> {
  const starting = [
    startRelay(modelSocket, socketWaitMs, signal),
    startRelay(proxySocket, socketWaitMs, signal),
  ] as const;
  try {
    const [model, proxy] = await Promise.all(starting);
    return {
      model,
      proxy,
      dispose: () => {
        model.dispose();
        proxy.dispose();
      },
    };
  } catch (thrown) {
    for (const one of await Promise.allSettled(starting)) if (one.status === 'fulfilled') one.value.dispose();
    throw thrown;
  }
}

/** Closes them as soon as they are there, should they come. */
export function giveUp(relays: Promise<Relays>): void {
  void relays.then(
    (started) => started.dispose(),
    () => undefined,
  );
}
