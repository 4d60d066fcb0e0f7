import { asSallyportError, SallyportError } from '../base/errors.ts';
import { safeText } from '../protocol/safeText.ts';
import type { SnapshotMode } from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { bytes, cost, plural, raisedBudget, spendText } from '../protocol/words.ts';
import { SecretsFound } from './secretsFound.ts';
import type { SubmitRequest, TaskService } from './taskService.ts';

export interface HeadlessOptions {
  prompt: string;
  repository: string;
  snapshot: SnapshotMode;
  model?: string;
  egress?: NonNullable<SubmitRequest['egress']>;
  /** US dollars. */
  budgetUsd?: number;
  isolation?: NonNullable<SubmitRequest['isolation']>;
  /** Likely keys may go to the sandbox. */
  allowSecrets?: boolean;
}

/** What the terminal shows of one event; nothing for those that say nothing to a reader. */
export function lineOf(event: TaskEvent): string | undefined {
  switch (event.type) {
    case 'submitted':
      return `task ${event.spec.id}  ${event.spec.title}\nmodel: ${event.spec.model.label}${event.spec.model.demonstration ? ' (DEMONSTRATION: a script answers, no model)' : ''}`;
    case 'progress':
      return `· ${event.text}`;
    case 'workspace':
      return `· workspace ready: ${event.files} files on ${event.branch}, in ${event.ms} ms`;
    case 'egress':
      return event.closed
        ? `· egress is closed: ${event.checks.length} attempts, all blocked`
        : '! egress is open';
    case 'session':
      return `· ${event.model}, Claude Code ${event.version}`;
    case 'text':
      return `\n${event.text}`;
    case 'tool_use':
      return `> ${event.name} ${summary(event.input)}`;
    case 'tool_result':
      return indent(clip(event.text, 12));
    case 'commit': {
      const { sha, subject, files, moreFiles } = event.commit;
      const all = [
        ...files.map((file) => `${file.status} ${file.path}  +${file.added ?? '?'} −${file.removed ?? '?'}`),
        ...andMore(moreFiles),
      ];
      return `\n● commit ${sha.slice(0, 10)} ${subject}\n${indent(all.join('\n'))}`;
    }
    case 'imported':
      return `· in the quarantine: ${event.tips.map((tip) => tip.slice(0, 10)).join(' ')}`;
    case 'import_failed':
      return `! import failed: ${event.message}`;
    case 'leftovers':
      return `● left uncommitted: ${[...event.files.map((file) => file.path), ...andMore(event.moreFiles)].join(', ')}`;
    case 'output':
      return event.text === undefined ? undefined : `  ${event.text}`;
    case 'notice':
      return `! ${event.text}`;
    case 'request':
      return event.verdict === 'allowed' ? undefined : requestLine(event);
    case 'paused': {
      const whose = event.scope === 'task' ? 'The budget of this task' : "The day's budget of all tasks";
      return `! ${whose} is used up: ${cost(event.spentUsd)} of ${cost(event.limitUsd)}. The model waits, and the clock stands still. ${whatToDo(event)}`;
    }
    case 'budget_set':
      return `· budget: ${event.usd === null ? 'no limit' : cost(event.usd)}`;
    case 'continued':
      return '· the model goes on';
    case 'egress_allowed':
      return `· allowed: ${event.rule ?? `the network is ${event.mode ?? 'unchanged'}`}`;
    case 'egress_refused':
      return `· refused: ${event.host}`;
    case 'gateway_notice':
      return `! gateway: ${event.text}`;
    case 'credential_wanted':
      return event.reason === 'expired'
        ? '· the credential expires, and is renewed'
        : '! the model refused the credential; another one is looked for';
    case 'result':
      return `\n· ${event.turns} turns, ${(event.durationMs / 1000).toFixed(1)} s, $${event.costUsd.toFixed(4)}`;
    case 'turn':
      return event.outcome === 'succeeded'
        ? `· turn ${event.number} is over; the agent waits for a message`
        : event.outcome === 'interrupted'
          ? `· turn ${event.number} was interrupted; the agent waits for a message`
          : `! turn ${event.number} failed: ${event.message ?? ''} ${event.mend ?? ''}`.trimEnd();
    case 'said':
      return `\n» ${event.by === undefined ? '' : `${event.by}: `}${event.text}${event.queued ? "\n· waits for the end of the agent's turn" : ''}`;
    case 'reopened':
      return `\n» ${event.by === undefined ? '' : `${event.by}: `}${event.text}\n· the task goes on`;
    case 'leftovers_committed':
      return `● committed what was left: ${event.commit.sha.slice(0, 10)} ${event.commit.subject}`;
    case 'sandbox_kept':
      return `· the sandbox is kept, stopped, until ${new Date(event.until).toISOString()}`;
    case 'ended':
      return `■ ${event.outcome}: ${event.message}${event.mend === undefined ? '' : ` ${event.mend}`}`;
    default:
      return undefined;
  }
}

function andMore(files = 0): string[] {
  return files > 0 ? [`and ${plural(files, 'more file', 'more files')}`] : [];
}

function requestLine(entry: Extract<TaskEvent, { type: 'request' }>): string {
  const { kind, host, port, method, path, verdict, reason } = entry;
  const what =
    kind === 'tunnel'
      ? `CONNECT ${host}:${port}`
      : `${method ?? ''} http://${host}:${port}${path ?? ''}`.trim();
  return `✗ ${verdict} ${what}${reason === undefined ? '' : `: ${reason}`}`;
}

function whatToDo({
  scope,
  spentUsd,
  limitUsd,
}: {
  scope: string;
  spentUsd: number;
  limitUsd: number;
}): string {
  if (scope === 'day')
    return 'It goes on tomorrow (UTC) or with a higher budget of the day; Ctrl+C stops it.';
  const wanted = raisedBudget({ spentUsd, limitUsd });
  return `Raise it from another terminal with the command "budget" (budget TASK ${wanted}); Ctrl+C stops it.`;
}

/** What went through the gateway, when all is over. */
export function totalsLine(state: TaskState): string {
  const { allowed, blocked, failed, bytesIn, bytesOut } = state.egress.counts;
  const spent = spendText(state);
  const requests = `${allowed} requests allowed, ${blocked} blocked${failed === 0 ? '' : `, ${failed} failed`}`;
  return `Gateway: ${requests}; ${bytes(bytesIn)} in, ${bytes(bytesOut)} out${spent === '' ? '' : `; ${spent} spent`}`;
}

function summary(input: unknown): string {
  const fields = typeof input === 'object' && input !== null ? (input as Record<string, unknown>) : {};
  const main = fields['command'] ?? fields['file_path'] ?? fields['pattern'];
  return clip(typeof main === 'string' ? main : JSON.stringify(input), 3);
}

function clip(text: string, lines: number): string {
  const all = text.split('\n');
  return all.length <= lines ? text : `${all.slice(0, lines).join('\n')}\n… ${all.length - lines} more lines`;
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}

/**
 * Runs one task in the terminal: progress, live log, the resulting diff. An interrupt stops the task and still brings
 * in what it committed; a second one leaves at once, and the task goes on. Resolves to the exit code.
 */
export async function runHeadless(
  service: TaskService,
  options: HeadlessOptions,
  print: (text: string) => void,
  interrupts: AsyncIterable<unknown>,
): Promise<number> {
  // What the sandbox says is text: nothing of it steers the terminal or hides in it.
  const show = (text: string): void => print(safeText(text));
  const leaving = new AbortController();
  let id: string | undefined;
  void (async () => {
    let count = 0;
    for await (const _ of interrupts) {
      if (count++ > 0 || id === undefined) {
        leaving.abort();
        return;
      }
      show('! Stopping the task. Interrupt again to leave it running.');
      await service.stop(id).catch((thrown: unknown) => show(asSallyportError(thrown).message));
    }
  })();
  try {
    await service.open();
    const task = await service.submit(
      {
        repositoryPath: options.repository,
        prompt: options.prompt,
        snapshot: options.snapshot,
        ...(options.model === undefined ? {} : { model: options.model }),
        ...(options.egress === undefined ? {} : { egress: options.egress }),
        ...(options.budgetUsd === undefined ? {} : { budgetUsd: options.budgetUsd }),
        ...(options.isolation === undefined ? {} : { isolation: options.isolation }),
        ...(options.allowSecrets === true ? { secrets: 'send' } : {}),
      },
      leaving.signal,
    );
    id = task.spec.id;
    for await (const batch of service.events(id, 0, leaving.signal)) {
      for (const event of batch) {
        const line = lineOf(event);
        if (line !== undefined) show(line);
      }
    }
    if (leaving.signal.aborted)
      throw new SallyportError('cancelled', 'Left; the task goes on.', 'It is in the list of tasks.');
    const { text, truncated } = await service.patch(id);
    if (text !== '') show(`\n${text}${truncated ? '\n… the diff is longer than this' : ''}`);
    const state = service.task(id);
    if (state !== undefined) show(totalsLine(state));
    const range = service.result(id);
    if (range !== undefined)
      show(
        `Result: ${range.to} (${state?.commits.length ?? 0} commits, in the quarantine; nothing of your repository has changed)`,
      );
    return state?.phase === 'succeeded' ? 0 : 1;
  } catch (thrown) {
    const error = asSallyportError(thrown);
    if (thrown instanceof SecretsFound) {
      for (const { path, line, kind, hint } of thrown.findings)
        show(`! ${line === 0 ? path : `${path}:${line}`}  ${kind}  ${hint}`);
      show('With --allow-secrets they are sent.');
    }
    show(`${error.message} ${error.mend} [${error.code}]`);
    return error.code === 'cancelled' ? 130 : 1;
  }
}
