import { SallyportError } from '../base/errors.ts';

/** `gitea` is Forgejo too, `bitbucket` its cloud only: Data Center has another API. */
export const forgeKinds = ['github', 'gitlab', 'gitea', 'bitbucket', 'bitbucket-data-center'] as const;
export type ForgeKind = (typeof forgeKinds)[number];

/** For people. */
export const forgeNames: Record<ForgeKind, string> = {
  github: 'GitHub',
  gitlab: 'GitLab',
  gitea: 'Gitea',
  bitbucket: 'Bitbucket',
  'bitbucket-data-center': 'Bitbucket Data Center',
};

/** Between a forge's address and its repositories. */
export const gitRoots: Partial<Record<ForgeKind, string>> = { 'bitbucket-data-center': 'scm' };

/** GitLab allows twenty groups below each other. */
const maxGroups = 21;

/** What fits into a path and is no part of one: `owner/name`, at GitLab with groups between them. */
export function isRepositoryName(text: string, kind: ForgeKind = 'github'): boolean {
  const parts = text.split('/');
  const most = kind === 'gitlab' ? maxGroups : 2;
  // A dash alone parts a GitLab project from the pages below it.
  const dashed = kind === 'gitlab' && parts.some((part) => part.startsWith('-'));
  // Data Center's repositories of a person are below a tilde and the name.
  const [first = '', ...rest] = parts;
  const named = kind === 'bitbucket-data-center' ? [first.replace(/^~/, ''), ...rest] : parts;
  return parts.length >= 2 && parts.length <= most && !dashed && named.every(isPart);
}

function isPart(part: string): boolean {
  return /^[A-Za-z0-9_.-]{1,255}$/.test(part) && part !== '.' && part !== '..';
}

/** The same name, or `invalid_input`. */
export function named(repository: string, kind: ForgeKind): string {
  if (isRepositoryName(repository, kind)) return repository;
  throw new SallyportError(
    'invalid_input',
    `${JSON.stringify(repository.slice(0, 200))} is no name of a repository.`,
    kind === 'gitlab' ? 'Give it as group/name.' : 'Give it as owner/name.',
  );
}

/** Forges tell no cases apart in names. */
export function sameRepository(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}
