import { readRule } from './egress.ts';
import type { TaskEvent } from './taskEvent.ts';
import type { TaskState, WaitingRequest } from './taskState.ts';

const maxWaiting = 20;
const maxBlocked = 50;

type EgressEvent = Extract<
  TaskEvent,
  { type: 'request_waiting' | 'request' | 'egress_allowed' | 'egress_refused' }
>;

/** @param over the task has ended: nothing waits any more */
export function foldEgress(
  egress: TaskState['egress'],
  event: EgressEvent,
  over: boolean,
): TaskState['egress'] {
  switch (event.type) {
    case 'request_waiting': {
      const { id, kind, host, port, until } = event;
      if (over) return egress;
      const one: WaitingRequest = { id, kind, host, port, until };
      if (event.method !== undefined) one.method = event.method;
      if (event.path !== undefined) one.path = event.path;
      // A gateway that was killed says no end of what waited there.
      const waiting = egress.waiting.filter((other) => other.until > event.t);
      return { ...egress, waiting: [...waiting, one].slice(-maxWaiting) };
    }
    case 'request': {
      const { bytesOut, bytesIn, verdict } = event;
      const counts = { ...egress.counts };
      counts[verdict]++;
      counts.bytesOut += bytesOut;
      counts.bytesIn += bytesIn;
      const waiting = egress.waiting.filter(({ id }) => id !== event.id);
      if (verdict !== 'blocked') return { ...egress, waiting, counts };
      const { host, port, askable = false } = event;
      const same = (one: { host: string; port: number }): boolean => one.host === host && one.port === port;
      const times = (egress.blocked.find(same)?.times ?? 0) + 1;
      const blocked = [...egress.blocked.filter((one) => !same(one)), { host, port, times, askable }];
      return { ...egress, waiting, counts, blocked: blocked.slice(-maxBlocked) };
    }
    case 'egress_allowed': {
      const mode = event.mode ?? egress.mode;
      const { rule } = event;
      if (rule === undefined) return { ...egress, mode };
      const allowed = egress.allowed.includes(rule) ? egress.allowed : [...egress.allowed, rule];
      // The last word stands.
      const refused = egress.refused.filter((host) => hostOf(rule) !== host);
      return { ...egress, mode, allowed, refused };
    }
    case 'egress_refused': {
      const { host } = event;
      const allowed = egress.allowed.filter((rule) => hostOf(rule) !== host);
      const refused = egress.refused.includes(host) ? egress.refused : [...egress.refused, host];
      return { ...egress, allowed, refused };
    }
  }
}

/** The one host that a rule names; undefined for one that means many. */
function hostOf(text: string): string | undefined {
  const rule = readRule(text);
  return typeof rule === 'string' || rule.subdomains ? undefined : rule.host;
}
