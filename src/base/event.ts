import type { Disposable } from './disposable.ts';

export type Listener<T> = (value: T) => void;
export type Event<T> = (listener: Listener<T>) => Disposable;

/** A source of events. A listener that throws does not keep the others from hearing. */
export class Emitter<T> implements Disposable {
  private readonly listeners = new Set<Listener<T>>();

  readonly event: Event<T> = (listener) => {
    // Wrapped, so that the same function added twice is heard twice and removed once.
    const own: Listener<T> = (value) => listener(value);
    this.listeners.add(own);
    return { dispose: () => this.listeners.delete(own) };
  };

  fire(value: T): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(value);
      } catch (thrown) {
        queueMicrotask(() => {
          throw thrown;
        });
      }
    }
  }

  dispose(): void {
    this.listeners.clear();
  }
}
