import type { SecretFinding } from '../../runner/taskService.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { plural } from '../../protocol/words.ts';

export function secretsTitle(count: number): string {
  return `${plural(count, 'likely key')} in what the sandbox would get`;
}

/** A finding as a line of a list: where, what, and a part of it that gives nothing away. */
export function findingItem({ path, line, kind, hint, tracked }: SecretFinding): {
  label: string;
  description: string;
} {
  const place = line === 0 ? path : `${path}:${line}`;
  return {
    label: safeLine(place, 200).replaceAll('$(', '$\u2060('),
    description: [safeLine(kind, 80), safeLine(hint, 80), tracked ? '' : 'untracked']
      .filter((part) => part !== '')
      .join(' · '),
  };
}
