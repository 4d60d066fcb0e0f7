import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { isHostName } from '../protocol/egress.ts';
import { safeLine } from '../protocol/safeText.ts';
import { hostGit } from './hostGit.ts';
import type { Repository } from './repository.ts';

/** A place that the user's repository pushes to. */
export interface HostRemote {
  /** As the user's configuration has it: "origin". */
  name: string;
  /** Where git would push to, with `url.<base>.insteadOf` and `pushInsteadOf` applied. May hold a password: never shown. */
  url: string;
  /** The same for people: without user name, password, query. */
  shown: string;
  kind: 'https' | 'http' | 'ssh' | 'file';
  /** Of the server, without a port; undefined for a folder. */
  host?: string;
  /** Of a folder, absolute. */
  path?: string;
}

const maxRemotes = 100;
const inTree = 'it lies in the work tree, where a task could have put it.';
const maxUrlLength = 2000;

/**
 * The places that the repository pushes to: one for each push URL of each remote. What is left out is no address that can be
 * pushed to: helpers (`ext::`), other protocols, what a program could take for an option.
 */
export async function hostRemotes(
  repository: Repository,
  signal?: AbortSignal,
): Promise<{ remotes: HostRemote[]; refused: { name: string; why: string }[] }> {
  const { stdout } = await hostGit(['remote'], repository, { signal });
  const names = stdout
    .toString()
    .split('\n')
    .filter((name) => name !== '')
    .slice(0, maxRemotes);
  const remotes: HostRemote[] = [];
  const refused: { name: string; why: string }[] = [];
  for (const name of names) {
    // Git takes such a name from a configuration file, though not on its command line.
    const asked = await hostGit(['remote', 'get-url', '--push', '--all', '--', name], repository, {
      signal,
      okCodes: [0, 1, 2, 128, 129],
    });
    const urls = asked.code === 0 ? asked.stdout.toString().split('\n') : [];
    for (const url of new Set(urls.filter((line) => line !== ''))) {
      const read = readPushUrl(url, repository.workTree);
      if (typeof read === 'string') refused.push({ name, why: read });
      else if (read.kind === 'file' && (await leadsInside(read.path, repository.workTree)))
        refused.push({ name, why: inTree });
      else remotes.push({ name, ...read });
    }
  }
  // What people mean when they say nothing comes first.
  const rank = ({ name }: HostRemote): number => (name === 'origin' ? 0 : 1);
  return { remotes: remotes.sort((a, b) => rank(a) - rank(b)), refused };
}

/** True for a path that is in the work tree when its links are followed. */
async function leadsInside(path: string | undefined, workTree: string): Promise<boolean> {
  if (path === undefined) return false;
  const [real, tree] = await Promise.all([realpath(path).catch(() => path), realpath(workTree)]);
  const inside = relative(tree, real);
  return inside === '' || (!inside.startsWith('..') && !isAbsolute(inside));
}

/** Throws `no_remote` where there is nothing to push to, with the reasons. */
export function someRemote(found: Awaited<ReturnType<typeof hostRemotes>>, name: string): HostRemote[] {
  if (found.remotes.length > 0) return found.remotes;
  const [first] = found.refused;
  throw new SallyportError(
    'no_remote',
    first === undefined
      ? `The repository ${safeLine(name, 100)} has no remote to push to.`
      : `The remote ${safeLine(first.name, 60)} of ${safeLine(name, 100)} cannot be pushed to: ${first.why}`,
    'Add one with "git remote add origin https://…", or accept the commits as a branch and take it from there.',
  );
}

/** Reads an address to push to; a sentence of why not where it is none. Quotes nothing of it, because of passwords. Pure. */
export function readPushUrl(url: string, workTree: string): Omit<HostRemote, 'name'> | string {
  if (url.length > maxUrlLength || /[\x00-\x20\x7f]/.test(url) || url.startsWith('-'))
    return 'its address cannot be read.';
  if (/^[A-Za-z0-9][A-Za-z0-9+.-]*::/.test(url))
    return 'its address names a program that would carry the push, and none is run.';
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(url)?.[1]?.toLowerCase();
  switch (scheme) {
    case 'https':
    case 'http':
      return web(url, scheme);
    case 'ssh':
    case 'git+ssh':
    case 'ssh+git':
      return secureShell(url);
    case 'file':
      return folder(URL.canParse(url) ? decodeURIComponent(new URL(url).pathname) : '', url, workTree);
    case undefined:
      break;
    default:
      return `${scheme}:// is no protocol that can be pushed with.`;
  }
  // As git tells a host from a folder: a colon before the first slash.
  const colon = url.indexOf(':');
  const slash = url.indexOf('/');
  if (colon > 0 && (slash === -1 || colon < slash) && !/^[A-Za-z]:[\\/]/.test(url)) return scp(url);
  return folder(url, url, workTree);
}

function web(url: string, kind: 'https' | 'http'): Omit<HostRemote, 'name'> | string {
  if (!URL.canParse(url)) return 'its address cannot be read.';
  const { hostname, host, pathname } = new URL(url);
  if (!isHost(hostname)) return 'its host is no name.';
  return { url, shown: safeLine(`${kind}://${host}${pathname}`, 300), kind, host: bare(hostname) };
}

function secureShell(url: string): Omit<HostRemote, 'name'> | string {
  // Not a special scheme of URL's: the host is left as it is written.
  const [, user = '', host = '', port = '', path = ''] =
    /^[a-z+]+:\/\/(?:([^@/]*)@)?(\[[^\]/]*\]|[^:/@]*)(?::(\d*))?(\/.*)$/i.exec(url) ?? [];
  if (!isHost(host) || !isUser(user)) return 'its host or its user is no name.';
  return {
    url,
    shown: safeLine(`ssh://${host}${port === '' ? '' : `:${port}`}${path}`, 300),
    kind: 'ssh',
    host: bare(host),
  };
}

function scp(url: string): Omit<HostRemote, 'name'> | string {
  const [, user = '', host = '', path = ''] = /^(?:([^@/:]*)@)?(\[[^\]/]*\]|[^:/@]*):(.*)$/.exec(url) ?? [];
  if (!isHost(host) || !isUser(user) || path.startsWith('-')) return 'its host or its user is no name.';
  return { url, shown: safeLine(`${host}:${path}`, 300), kind: 'ssh', host: bare(host) };
}

/** A folder of this machine: its hooks run here, so it may not be one that accepted files could have made. */
function folder(path: string, url: string, workTree: string): Omit<HostRemote, 'name'> | string {
  const whole = path === '' ? '' : isAbsolute(path) ? path : resolve(workTree, path);
  const inside = relative(workTree, whole);
  if (whole === '' || inside === '' || (!inside.startsWith('..') && !isAbsolute(inside))) return inTree;
  return { url, shown: safeLine(whole, 300), kind: 'file', path: whole };
}

function isHost(host: string): boolean {
  // An alias of the user's ssh configuration need have no dot.
  return (
    isHostName(host) || /^\[[0-9a-f:.%]+\]$/i.test(host) || /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/.test(host)
  );
}

function isUser(user: string): boolean {
  return user === '' || (/^[A-Za-z0-9._%+~-]{1,200}$/.test(user) && !user.startsWith('-'));
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, '').toLowerCase();
}
