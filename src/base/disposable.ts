/** Something that was started and can be ended; ending it twice is harmless. */
export interface Disposable {
  dispose(): void;
}

/** Ends everything that was added, last first. */
export class DisposableStore implements Disposable {
  private items: Disposable[] | undefined = [];

  add<T extends Disposable>(item: T): T {
    if (this.items === undefined) item.dispose();
    else this.items.push(item);
    return item;
  }

  dispose(): void {
    const items = this.items;
    this.items = undefined;
    for (const item of items?.reverse() ?? []) item.dispose();
  }
}
