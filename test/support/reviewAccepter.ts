import { readFileSync } from 'node:fs';
import { Quarantine } from '../../src/git/quarantine.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { Review } from '../../src/runner/review/review.ts';

/** A process that accepts everything of a task into the work tree, says so, and waits to be killed. */
const [folder = '', quarantineRoot = '', statePath = ''] = process.argv.slice(2);
const state = JSON.parse(readFileSync(statePath, 'utf8')) as TaskState;
const review = new Review({
  folder,
  state: () => state,
  quarantine: Quarantine.open(quarantineRoot, state.spec.repository.id),
  batches: () => {
    throw new Error('No turn is asked for');
  },
  send: () => Promise.reject(new Error('Nothing is sent')),
  followUp: () => Promise.reject(new Error('Nothing is sent')),
});
process.stdout.write('begins\n');
await review.accept({ scope: { kind: 'all' }, what: 'rest', target: { kind: 'tree', staged: true } });
process.stdout.write('done\n');
setInterval(() => undefined, 1000);
