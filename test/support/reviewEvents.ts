import type { RejectedPart, ReviewBody, ReviewEvent } from '../../src/protocol/review.ts';
import { chance } from './chance.ts';
import { shaOf } from './specs.ts';

/** A name of a part or a file, made from a number. */
export function idOf(n: number): string {
  return n.toString(16).padStart(16, '0');
}

/** Random events of a review, of few parts, files and remarks, so that they meet. */
export function randomEvents(seed: number, count: number): ReviewEvent[] {
  const below = chance(seed);
  const some = <T>(make: (n: number) => T): T[] =>
    Array.from({ length: 1 + below(4) }, () => make(below(12)));
  const yes = (): boolean => below(2) === 0;
  const remark = (): string => `r${below(6)}`;
  const commit = (): string => shaOf(`commit ${below(3)}`);
  let accepts = 0;
  const body = (): ReviewBody => {
    switch (below(12)) {
      case 0:
      case 1:
      case 2: {
        const parts = some(idOf);
        const verdict = (['accepted', 'rejected', null] as const)[below(3)] ?? null;
        if (verdict !== 'rejected' || yes()) return { type: 'decided', parts, verdict };
        const rejected = parts.map((part): RejectedPart => ({
          part,
          path: 'a',
          kind: 'hunk',
          text: `+${part}`,
        }));
        return { type: 'decided', parts, verdict, rejected };
      }
      case 3:
        return { type: 'reviewed', fingerprints: some((n) => `print ${n}`), on: yes() };
      case 4: {
        const content = yes() ? shaOf(`content ${below(4)}`) : null;
        return { type: 'edited', file: idOf(below(4)), path: 'a', original: shaOf('original'), content };
      }
      case 5:
      case 6:
        return {
          type: 'remark',
          remark: {
            id: remark(),
            file: idOf(below(4)),
            path: 'a',
            side: yes() ? 'old' : 'new',
            blob: shaOf('blob'),
            commit: commit(),
            line: 1,
            endLine: 2,
            quote: 'quote',
            text: `text ${below(9)}`,
          },
        };
      case 7:
        return yes()
          ? { type: 'remark_changed', id: remark(), text: `changed ${below(9)}` }
          : { type: 'remark_removed', id: remark() };
      case 8:
        return { type: 'remark_resolved', id: remark(), by: yes() ? 'user' : 'turn', resolved: yes() };
      case 9:
        return {
          type: 'sent',
          remarks: some((n) => `r${n % 6}`),
          rejected: some(idOf),
          ...(yes() ? { commit: commit() } : {}),
        };
      case 10: {
        if (accepts > 0 && yes()) return { type: 'undone', id: `a${below(accepts)}` };
        const target = yes()
          ? ({ kind: 'tree', staged: yes() } as const)
          : ({ kind: 'branch', branch: 'claude/x' } as const);
        return {
          type: 'accepted',
          id: `a${accepts++}`,
          target,
          files: below(9),
          parts: some(idOf),
          whole: yes(),
        };
      }
      default:
        return yes()
          ? { type: 'pushed', push: { remote: 'origin', branch: 'claude/x', commit: commit() } }
          : {
              type: 'pull_request',
              pullRequest: {
                forge: 'github',
                repository: 'ada/demo',
                number: 1 + below(9),
                url: 'https://forge.example.com/ada/demo/pull/1',
                state: yes() ? 'open' : 'merged',
                branch: 'claude/x',
              },
            };
    }
  };
  return Array.from({ length: count }, (_, i) => ({ n: i + 1, t: 1000 + i, ...body() }));
}
