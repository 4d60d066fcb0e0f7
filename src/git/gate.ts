import type { GateReason } from '../protocol/review.ts';
import { isCiFile } from './ciFiles.ts';
import type { Hidden } from './hiddenCharacters.ts';
import type { RawChange } from './log.ts';
import type { Quarantine } from './quarantine.ts';

/** A change as the gate looks at it. */
export interface GateChange extends RawChange {
  /** In what is added. */
  hidden: Hidden | undefined;
  /** Too large to be looked into. */
  unread: boolean;
}

/** Why each of the changes may not be taken over in bulk; nothing for those that may. */
export async function gateReasons(
  _quarantine: Quarantine,
  _sides: { from: string; to: string },
  changes: readonly GateChange[],
  _signal: AbortSignal | undefined,
): Promise<GateReason[][]> {
  await Promise.resolve();
  return changes.map((change) => {
    const reasons: GateReason[] = [];
    if (isCiFile(change.path)) reasons.push({ kind: 'ci', why: 'A forge runs it.' });
    return reasons;
  });
}
