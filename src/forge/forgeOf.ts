import * as z from 'zod/mini';
import { forgeKinds, forgeNames, gitRoots, isRepositoryName, type ForgeKind } from './names.ts';
import { readRemoteAddress, type RemoteAddress } from './remoteAddress.ts';

/** A host at which the user, or the operator of a runner, says that there is a forge. */
export interface ForgeHost {
  /** `git.example.com`, `git.example.com:3000`, or `example.com/gitlab` for a forge below a path. */
  host: string;
  kind: ForgeKind;
  /** Of its API, where it is not at the usual place of its kind. Only this lets it be spoken to without TLS (`http://`). */
  apiUrl?: string;
}

/** Where a remote leads: to which repository of which forge. */
export interface ForgePlace {
  kind: ForgeKind;
  /** For people: "GitHub". */
  name: string;
  /** What a token belongs to: `github.com`, `git.example.com:3000`. */
  host: string;
  webUrl: string;
  apiUrl: string;
  /** `owner/name` */
  repository: string;
}

const Kind = z.pipe(
  z.enum([...forgeKinds, 'forgejo']),
  z.transform((kind): ForgeKind => (kind === 'forgejo' ? 'gitea' : kind)),
);

/** Hosts as a setting has them: `[{ "host": "git.example.com", "kind": "gitlab" }]`. */
export const ForgeHosts = z.array(
  z.pipe(
    z.object({
      host: z.string().check(z.refine((text) => readHost(text) !== undefined, 'not a host')),
      kind: Kind,
      apiUrl: z.optional(z.string().check(z.refine(isApiUrl, 'not the address of an API'))),
    }),
    z.transform(({ apiUrl, ...rest }): ForgeHost => (apiUrl === undefined ? rest : { ...rest, apiUrl })),
  ),
);

const known: readonly ForgeHost[] = [
  { host: 'github.com', kind: 'github', apiUrl: 'https://api.github.com' },
  { host: 'gitlab.com', kind: 'gitlab' },
  { host: 'codeberg.org', kind: 'gitea' },
  { host: 'gitea.com', kind: 'gitea' },
  { host: 'bitbucket.org', kind: 'bitbucket', apiUrl: 'https://api.bitbucket.org/2.0' },
];

/** Where forges listen for ssh at the port of https, for those behind a strict firewall. */
const sshDoors: Partial<Record<string, string>> = {
  'ssh.github.com': 'github.com',
  'altssh.gitlab.com': 'gitlab.com',
  'altssh.bitbucket.org': 'bitbucket.org',
};

/**
 * The forge that a remote belongs to, and the repository there; undefined where that is not known. Nobody is asked: a host
 * is a forge's because it is one of the well-known ones, or because `hosts` says so, which wins. Pure.
 */
export function forgeOf(remoteUrl: string, hosts: readonly ForgeHost[] = []): ForgePlace | undefined {
  const address = readRemoteAddress(remoteUrl);
  if (address === undefined) return undefined;
  for (const entry of [...hosts, ...known, ...dataResidency(address)]) {
    const place = placeOf(address, entry);
    if (place !== undefined) return place;
  }
  return undefined;
}

/** GitHub's own hosts for companies whose data stays in a region: `octo.ghe.com`. */
function dataResidency({ host }: RemoteAddress): ForgeHost[] {
  if (!/^[a-z0-9-]+\.ghe\.com$/.test(host) || host === 'api.ghe.com') return [];
  return [{ host, kind: 'github', apiUrl: `https://api.${host}` }];
}

function placeOf(address: RemoteAddress, { host: text, kind, apiUrl }: ForgeHost): ForgePlace | undefined {
  const web = readHost(text);
  if (web === undefined) return undefined;
  const ssh = address.scheme === 'ssh';
  const host = ssh ? (sshDoors[address.host] ?? address.host) : address.host;
  // Ssh listens at a port of its own, and knows nothing of a path on the web.
  if (host !== web.host || (!ssh && address.port !== web.port)) return undefined;
  const plain = apiUrl?.startsWith('http://') === true;
  // What went over the way without TLS could have been written by anybody there.
  if (address.scheme === 'http' && !plain) return undefined;
  const root = ssh
    ? ''
    : [web.root, gitRoots[kind] ?? ''].map((one) => (one === '' ? '' : `${one}/`)).join('');
  if (!address.path.startsWith(root)) return undefined;
  const repository = address.path.slice(root.length);
  if (!isRepositoryName(repository, kind)) return undefined;
  const shown = `${web.host}${web.port === undefined ? '' : `:${web.port}`}`;
  const webUrl = `${plain ? 'http' : 'https'}://${shown}${web.root === '' ? '' : `/${web.root}`}`;
  return {
    kind,
    name: forgeNames[kind],
    host: `${shown}${web.root === '' ? '' : `/${web.root}`}`,
    webUrl,
    apiUrl: apiUrl?.replace(/\/+$/, '') ?? `${webUrl}${usualApi[kind]}`,
    repository,
  };
}

const usualApi: Record<ForgeKind, string> = {
  github: '/api/v3',
  gitlab: '/api/v4',
  gitea: '/api/v1',
  bitbucket: '/2.0',
  'bitbucket-data-center': '/rest',
};

interface WebHost {
  host: string;
  port?: number;
  /** Without slashes at its ends. */
  root: string;
}

function readHost(text: string): WebHost | undefined {
  // What a URL would read otherwise than it is written has no place here.
  if (!/^[A-Za-z0-9.:[\]-]+(?:\/[A-Za-z0-9_.~-]+)*\/?$/.test(text) || /(?:^|\/)\.{1,2}(?:\/|$)/.test(text))
    return undefined;
  // A name is put at the end so that a host alone is an address too.
  const address = readRemoteAddress(`https://${text.replace(/\/+$/, '')}/x`);
  if (address === undefined) return undefined;
  const { host, port, path } = address;
  return { host, root: path.slice(0, -1).replace(/\/$/, ''), ...(port === undefined ? {} : { port }) };
}

function isApiUrl(text: string): boolean {
  if (!/^https?:\/\/[\x21-\x7e]+$/.test(text) || !URL.canParse(text)) return false;
  const { username, password, search, hash } = new URL(text);
  return `${username}${password}${search}${hash}` === '' && !/[?#\\]/.test(text);
}
