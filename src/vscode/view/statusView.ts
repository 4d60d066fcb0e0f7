import { needsUser } from '../../protocol/egressQuestions.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';
import { cost, phaseLabel, plural, spendOf, spendText } from '../../protocol/words.ts';

export interface StatusView {
  text: string;
  /** Plain text. */
  tooltip: string;
  accessibility: string;
  waits: boolean;
}

/** Tasks that are named in the tooltip. */
const named = 10;

/** What the status bar shows of the tasks that run; nothing while none does. */
export function statusView(tasks: readonly TaskState[]): StatusView | undefined {
  const running = tasks.filter((task) => !hasEnded(task));
  if (running.length === 0) return undefined;
  const waiting = running.filter(needsUser);
  const billed = running.filter((task) => !task.spec.model.demonstration).map(spendOf);
  const usd = billed.reduce((sum, spend) => sum + spend.usd, 0);
  const spent = usd > 0 ? ` · ${billed.some(({ estimated }) => estimated) ? '≈' : ''}${cost(usd)}` : '';
  const words =
    waiting.length > 0
      ? `${plural(waiting.length, 'task')} ${waiting.length === 1 ? 'waits' : 'wait'} for you`
      : plural(running.length, 'task');
  const lines = running.slice(0, named).map((task) => {
    const state = needsUser(task) && task.paused === undefined ? 'Waits for you' : phaseLabel(task);
    const money = spendText(task);
    return `${safeLine(task.spec.title, 50)}: ${state}${money === '' ? '' : `, ${money}`}`;
  });
  if (running.length > named) lines.push(`and ${plural(running.length - named, 'other')}`);
  return {
    text: `$(${waiting.length > 0 ? 'bell-dot' : 'sync~spin'}) ${words}${spent}`,
    tooltip: ['Sallyport', ...lines].join('\n'),
    accessibility: `Sallyport: ${plural(running.length, 'task')} running${waiting.length > 0 ? `, ${words}` : ''}${spent}`,
    waits: waiting.length > 0,
  };
}
