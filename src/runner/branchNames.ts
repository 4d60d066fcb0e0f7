import { SallyportError } from '../base/errors.ts';
import { defaultBranchName, isBranchName } from '../protocol/grammar.ts';

/** Names the branches of new tasks. */
export class BranchNames {
  /** Of tasks whose submission is under way. */
  private readonly given = new Set<string>();
  private readonly taken: () => readonly string[];

  /** @param taken names of the tasks that there are */
  constructor(taken: () => readonly string[]) {
    this.taken = taken;
  }

  /** Throws `invalid_branch`. */
  choose(wanted = this.free()): string {
    if (isBranchName(wanted)) return wanted;
    throw new SallyportError(
      'invalid_branch',
      `"${wanted}" is not a valid branch name.`,
      'Choose another, such as claude/my-task.',
    );
  }

  /** By the second, and counted on where two tasks begin within one. */
  private free(): string {
    const name = defaultBranchName(new Date());
    const taken = new Set([...this.given, ...this.taken()]);
    let free = name;
    for (let i = 2; taken.has(free); i++) free = `${name}-${i}`;
    this.given.add(free);
    return free;
  }
}
