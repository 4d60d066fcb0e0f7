import * as z from 'zod/mini';

/**
 * What a sandbox may ask of the forge: to read. A request is taken apart and written anew, and of an answer only what is
 * named here goes on: forges put short-lived credentials into theirs (`temp_clone_token`, tokens in `download_url`).
 */
export interface ForgeCall {
  /** Below the API's base, with its query. */
  path: string;
  answer: z.ZodMiniType;
}

const Text = z.catch(z.nullable(z.string()), null);

const Repository = z.object({
  full_name: z.string(),
  description: Text,
  private: z.catch(z.boolean(), true),
  archived: z.catch(z.boolean(), false),
  fork: z.catch(z.boolean(), false),
  default_branch: Text,
  language: Text,
  topics: z.catch(z.array(z.string()), []),
  pushed_at: Text,
});

const Entry = z.object({
  name: z.string(),
  path: z.string(),
  type: z.string(),
  size: z.catch(z.number(), 0),
});
const File = z.object({
  ...Entry.shape,
  encoding: z.catch(z.string(), 'none'),
  content: z.catch(z.string(), ''),
});
const Branch = z.object({ name: z.string(), protected: z.catch(z.boolean(), false) });

interface Kind {
  answer: z.ZodMiniType;
  query: readonly string[];
}

const paging = ['per_page', 'page'];
const kinds = {
  mine: {
    answer: z.array(Repository),
    query: [...paging, 'sort', 'direction', 'affiliation', 'visibility', 'type'],
  },
  search: {
    answer: z.object({ total_count: z.number(), items: z.array(Repository) }),
    query: [...paging, 'q', 'sort', 'order'],
  },
  repository: { answer: Repository, query: [] },
  contents: { answer: z.union([z.array(Entry), File]), query: ['ref'] },
  readme: { answer: File, query: ['ref'] },
  branches: { answer: z.array(Branch), query: paging },
} as const satisfies Record<string, Kind>;

/** Longest value in a query, and longest path, in characters. */
const maxValue = 500;
const maxPath = 1000;

/** A sentence for the agent says what may be asked, where this may not be. Pure. */
export function forgeCall(method: string, path: string, query: string): ForgeCall | string {
  if (method !== 'GET') return `${method} is not let through to the forge: it can only be read, with GET.`;
  const found = path.length > maxPath ? undefined : route(path);
  if (found === undefined) {
    return 'Of the forge only /user/repos, /search/repositories, and /repos/OWNER/NAME with its /contents, /readme and /branches can be read.';
  }
  const params = readQuery(query, found.kind.query);
  if (typeof params === 'string') return params;
  return {
    path: `${found.path}${params.size === 0 ? '' : `?${params.toString()}`}`,
    answer: found.kind.answer,
  };
}

function route(path: string): { kind: Kind; path: string } | undefined {
  if (path === '/user/repos') return { kind: kinds.mine, path };
  if (path === '/search/repositories') return { kind: kinds.search, path };
  const [root, repos, owner = '', name = '', what, ...rest] = path.split('/');
  if (root !== '' || repos !== 'repos' || !isName(owner) || !isName(name)) return undefined;
  const base = `/repos/${owner}/${name}`;
  if (what === undefined) return { kind: kinds.repository, path: base };
  if (what === 'readme' && rest.length === 0) return { kind: kinds.readme, path: `${base}/readme` };
  if (what === 'branches' && rest.length === 0) return { kind: kinds.branches, path: `${base}/branches` };
  if (what !== 'contents') return undefined;
  // A slash at the end is the root folder's.
  const segments = rest.length === 1 && rest[0] === '' ? [] : rest.map(readSegment);
  if (segments.some((segment) => segment === undefined)) return undefined;
  const below = segments.map((segment) => `/${encodeURIComponent(segment ?? '')}`).join('');
  return { kind: kinds.contents, path: `${base}/contents${below}` };
}

function isName(text: string): boolean {
  return /^[A-Za-z0-9_.-]{1,100}$/.test(text) && !/^\.{1,2}$/.test(text);
}

/** One name of a path, decoded; undefined where a server could see another place in it. */
function readSegment(text: string): string | undefined {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    return undefined;
  }
  if (decoded === '' || /^\.{1,2}$/.test(decoded) || /[\x00-\x1f\x7f/\\%;]/.test(decoded)) return undefined;
  return decoded;
}

function readQuery(query: string, known: readonly string[]): URLSearchParams | string {
  const given = new URLSearchParams(query);
  const params = new URLSearchParams();
  for (const [key, value] of given) {
    if (!known.includes(key)) {
      return known.length === 0
        ? 'This path of the forge takes no query.'
        : `This path of the forge takes only these in its query: ${known.join(', ')}.`;
    }
    if (params.has(key)) return `The query holds ${key} twice.`;
    if (value.length > maxValue || /[\x00-\x1f\x7f]/.test(value))
      return `The value of ${key} in the query is not let through.`;
    params.set(key, value);
  }
  return params;
}
