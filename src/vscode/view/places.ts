import { safeLine } from '../../protocol/safeText.ts';
import type { ConnectionStatus } from '../../remote/connection.ts';

/** The runner that is this machine itself. */
export const thisMachine = 'local';

/** `idle`: nothing has asked for it yet. */
export type PlaceStatus = ConnectionStatus | { kind: 'idle' } | { kind: 'here' };

/** A runner as the user sees it. */
export interface Place {
  id: string;
  name: string;
  /** Base address, with a slash at its end; undefined for this machine. */
  url?: string;
  status: PlaceStatus;
}

export const thisMachinePlace: Place = { id: thisMachine, name: 'This Machine', status: { kind: 'here' } };

/** What New Task has to know of where a task is to run. */
export interface Abilities {
  /** The task's model is paid with a credential of this machine, which is to be chosen and confirmed here. */
  needsCredential: boolean;
  /** The task's switches can push: from this machine, to the remote of the repository. */
  pushes: boolean;
}

export function abilitiesOf({ id }: Place): Abilities {
  return id === thisMachine
    ? { needsCredential: true, pushes: true }
    : { needsCredential: false, pushes: false };
}

export interface PlaceWords {
  /** A few words; empty when there is nothing to say. */
  description: string;
  tooltip: string;
  /** Name of a codicon and of a theme colour. */
  icon: string;
  color?: string;
  /** Words that the menus of the manifest look for. */
  contextValue: string;
}

/** Name of the codicon with which a runner is chosen. */
export function placeIcon({ status }: Place): string {
  if (status.kind === 'here') return 'device-desktop';
  return ['online', 'connecting', 'idle'].includes(status.kind) ? 'vm-active' : 'vm-outline';
}

/** What is to be known before a task is sent there; empty when all is well. */
export function awayWords({ status }: Place): string {
  switch (status.kind) {
    case 'offline':
      return 'The runner does not answer now.';
    case 'refused':
      return 'The runner wants you to sign in again.';
    case 'version':
      return 'The runner does not fit this version of Sallyport.';
    default:
      return '';
  }
}

/** How it stands with a runner, in words. */
export function placeWords({ name, url, status }: Place, now: number): PlaceWords {
  const lines = (...more: string[]): string =>
    [safeLine(name, 100), ...(url === undefined ? [] : [safeLine(url, 300)]), ...more].join('\n');
  switch (status.kind) {
    case 'here':
      return {
        description: '',
        tooltip: lines('The container engine of this machine.'),
        icon: 'device-desktop',
        contextValue: 'place',
      };
    case 'idle':
    case 'connecting':
      return {
        description: 'connecting…',
        tooltip: lines('The connection is being opened.'),
        icon: 'loading~spin',
        contextValue: 'runner connecting',
      };
    case 'online':
      return {
        description: '',
        tooltip: lines(
          `Connected as ${safeLine(status.user.name, 100)} (${status.user.role}).`,
          `Version ${safeLine(status.version.version, 40)}.`,
        ),
        icon: 'vm-active',
        color: 'testing.iconPassed',
        contextValue: 'runner online',
      };
    case 'offline':
      return {
        description: `offline since ${clock(status.since, now)}`,
        tooltip: lines(
          `Not reached since ${clock(status.since, now)}; it is tried again by itself.`,
          status.error.message,
          status.error.mend,
          'What is known of its tasks can be read all the same.',
        ),
        icon: 'debug-disconnect',
        color: 'list.warningForeground',
        contextValue: 'runner offline',
      };
    case 'refused':
      return {
        description: 'signed out',
        tooltip: lines(status.error.message, status.error.mend),
        icon: 'key',
        color: 'list.warningForeground',
        contextValue: 'runner refused',
      };
    case 'version':
      return {
        description: status.update === 'runner' ? 'update the runner' : 'update Sallyport',
        tooltip: lines(status.error.message, status.error.mend),
        icon: 'warning',
        color: 'list.warningForeground',
        contextValue: 'runner misfit',
      };
  }
}

/** Since when nothing new can come of a runner, in milliseconds since the epoch; undefined while it can. */
export function silentSince({ status }: Place): number | undefined {
  return status.kind === 'offline' ? status.since : undefined;
}

/** `17:20`, and with its day when that is not today. */
export function clock(at: number, now: number): string {
  const [then, today] = [new Date(at), new Date(now)];
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = `${two(then.getHours())}:${two(then.getMinutes())}`;
  if (then.toDateString() === today.toDateString()) return time;
  return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} ${time}`;
}

/**
 * What is shown after `now` came upon `before`: while a connection is tried again and again, that it is tried says less than
 * why it has to be.
 */
export function shownStatus(before: PlaceStatus, now: PlaceStatus): PlaceStatus {
  const known = ['offline', 'refused', 'version'].includes(before.kind);
  return now.kind === 'connecting' && known ? before : now;
}

/**
 * Where a new task runs when nobody says otherwise: what was said, then what was chosen last in this workspace, then the
 * setting, each by id, name or address; else this machine. What names a runner that is not there counts as not said.
 */
export function defaultPlace(places: readonly Place[], ...wishes: (string | undefined)[]): Place | undefined {
  for (const wish of wishes) {
    const found = wish === undefined || wish === '' ? undefined : findPlace(places, wish);
    if (found !== undefined) return found;
  }
  return places.find(({ id }) => id === thisMachine) ?? places[0];
}

export function findPlace(places: readonly Place[], wish: string): Place | undefined {
  const plain = (text: string): string => text.replace(/\/+$/, '').toLowerCase();
  return (
    places.find(({ id }) => id === wish) ??
    places.find(({ name }) => name === wish) ??
    places.find(({ url }) => url !== undefined && plain(url) === plain(wish))
  );
}

/** A name for a runner that is none of those that are given. */
export function freeName(url: URL, given: readonly string[]): string {
  const name = url.host.slice(0, 90) || 'Runner';
  const names = [name, `${name}${url.pathname.replace(/\/$/, '')}`.slice(0, 90)];
  for (let i = 2; i <= given.length + 2; i++) names.push(`${name} (${i})`);
  return names.find((one) => !given.includes(one)) ?? name;
}
