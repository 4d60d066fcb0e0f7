import { createHash } from 'node:crypto';
import { defaultLimits, newTaskId, type TaskSpec } from '../../src/protocol/task.ts';
import type { Commit } from '../../src/protocol/taskEvent.ts';

/** An object name made from a word. */
export function shaOf(word: string): string {
  return createHash('sha1').update(word).digest('hex');
}

export function aSpec(change: Partial<TaskSpec> = {}): TaskSpec {
  return {
    id: newTaskId(Date.now()),
    title: 'Fix the median',
    prompt: 'Fix the median',
    agent: { kind: 'claude-code' },
    repository: { id: 'demo-0123456789', name: 'demo', path: '/tmp/demo' },
    snapshot: { mode: 'head', commit: shaOf('base'), head: shaOf('base'), headBranch: 'main' },
    branch: 'claude/20261121-014300',
    identity: { name: 'Ada', email: 'ada@example.com' },
    limits: defaultLimits,
    model: { label: 'demonstration model', demonstration: true },
    createdAt: 1000,
    ...change,
  };
}

export function aCommit(word: string): Commit {
  return {
    sha: shaOf(word),
    parents: [shaOf('base')],
    branch: 'claude/20261121-014300',
    author: 'Ada',
    email: 'ada@example.com',
    date: 1000,
    subject: `Change ${word}`,
    body: '',
    files: [{ path: `${word}.txt`, status: 'added', added: 1, removed: 0 }],
  };
}
