import type { SubmissionInput } from '../protocol/runnerApi.ts';
import { defaultLimits, type Limits, type TaskSpec } from '../protocol/task.ts';

/** What a runner is asked for: pure. What is as it is by default here is left to the runner's own defaults. */
export function submissionOf(spec: TaskSpec): SubmissionInput & { id: string } {
  const { id, prompt, title, agent, repository, snapshot, branch, identity, egress, budgetUsd } = spec;
  const { conversation, resume, commitMessage } = spec;
  const limits = ownLimits(spec.limits);
  return {
    id,
    prompt,
    title,
    source: { kind: 'snapshot', repository: { id: repository.id, name: repository.name }, snapshot },
    ...(agent.model === undefined ? {} : { model: agent.model }),
    ...(agent.args === undefined ? {} : { agentArgs: agent.args }),
    branch,
    identity,
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(egress === undefined ? {} : { egress: { mode: egress.mode, rules: egress.rules } }),
    ...(budgetUsd === undefined ? {} : { budgetUsd }),
    ...(conversation === undefined ? {} : { conversation }),
    ...(spec.agent.permissions === undefined ? {} : { permissions: spec.agent.permissions }),
    ...(resume === undefined ? {} : { resume: resume.task }),
    ...(resume?.turn === undefined ? {} : { turn: resume.turn }),
    ...(commitMessage === undefined ? {} : { commitMessage }),
  };
}

function ownLimits(limits: Limits): Partial<Limits> {
  return Object.fromEntries(
    Object.entries(limits).filter(([name, value]) => value !== defaultLimits[name as keyof Limits]),
  );
}
