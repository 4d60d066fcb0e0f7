/** A node of the tree. The same task is the same object as long as the tree lives, so that a refresh finds it again. */
export type Node =
  /** A runner, also this machine; only where there are several. */
  | { kind: 'runner'; id: string }
  /** Tasks of repositories that are not open here, of one runner. */
  | { kind: 'elsewhere'; runner: string }
  | { kind: 'task'; id: string }
  | { kind: 'commit'; id: string; sha: string }
  | { kind: 'leftovers'; id: string }
  /** Where its commits were pushed to. */
  | { kind: 'branch'; id: string; remote: string; branch: string }
  | { kind: 'pullRequest'; id: string };

/** A runner's own line, and the one for its tasks of other repositories. */
interface PlaceNodes {
  runner: Node;
  elsewhere: Node;
}

/** The nodes of a tree, each made once. */
export class TaskNodes {
  private readonly tasks = new Map<string, Node>();
  private readonly places = new Map<string, PlaceNodes>();

  hasTask(id: string): boolean {
    return this.tasks.has(id);
  }

  task(id: string): Node {
    const known = this.tasks.get(id);
    if (known !== undefined) return known;
    const node: Node = { kind: 'task', id };
    this.tasks.set(id, node);
    return node;
  }

  /** @param id of a runner, or this machine */
  place(id: string): PlaceNodes {
    const known = this.places.get(id);
    if (known !== undefined) return known;
    const made: PlaceNodes = {
      runner: { kind: 'runner', id },
      elsewhere: { kind: 'elsewhere', runner: id },
    };
    this.places.set(id, made);
    return made;
  }

  forgetTask(id: string): void {
    this.tasks.delete(id);
  }
}
