import { SallyportError } from '../base/errors.ts';
import { isHostName, readRule, type EgressPolicy } from '../protocol/egress.ts';
import type { RunnerBody } from '../protocol/taskEvent.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { EgressAnswer, SubmitRequest, WorkspaceSettings } from './taskService.ts';

/** What a user's answers mean for a task, and what is to be told to its gateway. Pure. */

type EgressRequest = NonNullable<SubmitRequest['egress']>;

/** What a new task may reach: the user's own policy with the workspace's rules and those of the request, each once. */
export function policyFor(
  user: EgressPolicy,
  workspace: Pick<WorkspaceSettings, 'egressRules'>,
  request: EgressRequest = {},
): EgressPolicy {
  for (const rule of request.rules ?? []) checkRule(rule);
  return {
    mode: request.mode ?? user.mode,
    rules: [...new Set([...user.rules, ...workspace.egressRules, ...(request.rules ?? [])])],
  };
}

/** What a gateway decides by now: the task's policy with what the user has answered since. */
export function policyNow(state: TaskState): { egress: EgressPolicy; refused: string[] } {
  const { mode, allowed, refused } = state.egress;
  const rules = [...new Set([...(state.spec.egress?.rules ?? []), ...allowed])];
  return { egress: { mode, rules }, refused: [...refused] };
}

/** Throws `invalid_rule` with a sentence that says what is wrong. */
export function checkAnswer(answer: EgressAnswer): void {
  if ('rule' in answer) checkRule(answer.rule);
  else if ('refuse' in answer && !isHostName(answer.refuse)) {
    throw new SallyportError(
      'invalid_rule',
      `"${answer.refuse}" is no host name.`,
      'Name the host as the blocked request does.',
    );
  }
}

export function eventOf(answer: EgressAnswer): RunnerBody {
  if ('refuse' in answer) return { type: 'egress_refused', host: answer.refuse };
  if ('rule' in answer) return { type: 'egress_allowed', rule: answer.rule, scope: answer.allow };
  return { type: 'egress_allowed', mode: answer.mode, scope: 'task' };
}

/** True when the task's log says this already: an answer that comes twice is one answer. */
export function isAnswered(state: TaskState, answer: EgressAnswer): boolean {
  const { mode, allowed, refused } = state.egress;
  if ('refuse' in answer) return refused.includes(answer.refuse);
  return 'rule' in answer ? allowed.includes(answer.rule) : mode === answer.mode;
}

function checkRule(text: string): void {
  const read = readRule(text);
  if (typeof read === 'string') {
    throw new SallyportError(
      'invalid_rule',
      read,
      'Write it as HOST[:PORT][/PATH] [METHODS], as in registry.example.com or api.example.com GET,POST.',
    );
  }
}
