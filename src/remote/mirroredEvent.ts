import * as z from 'zod/mini';
import { parseTaskEvent, type TaskEvent } from '../protocol/taskEvent.ts';
import { safeLine } from '../protocol/safeText.ts';
import { localSpec, type Origin } from './mirrorFolder.ts';

const Envelope = z.looseObject({
  n: z.int().check(z.positive()),
  t: z.number(),
  s: z.optional(z.int().check(z.positive())),
  type: z.optional(z.string()),
});

/**
 * Checks an event of a runner's and makes it one of the mirror's, with the same numbers. One that this version does not
 * know becomes a notice, so that the log has no gap. Throws an Error that says what is wrong.
 */
export function mirroredEvent(json: unknown, id: string, origin: Origin | undefined): TaskEvent {
  const envelope = Envelope.safeParse(json);
  if (!envelope.success) throw new Error('an event has no number');
  const { n, t, s, type } = envelope.data;
  let event: TaskEvent;
  try {
    event = parseTaskEvent(json);
  } catch {
    if (n === 1) throw new Error('its log does not begin with a task');
    const text = `The runner told of something that this version of Sallyport does not know: "${safeLine(type ?? '', 60)}".`;
    return { type: 'notice', level: 'warning', text, n, t, ...(s === undefined ? {} : { s }) };
  }
  if (n === 1 && event.type !== 'submitted') throw new Error('its log does not begin with a task');
  if (event.type !== 'submitted' && event.type !== 'started') return event;
  if (event.spec.id !== id) throw new Error('its log is that of another task');
  return { ...event, spec: localSpec(event.spec, origin) };
}
