/** Where somebody goes who has signed in. */
export const home = '/dashboard';

/** A path of this server to go on to; anything else, such as another host, is the dashboard. */
export function ownPath(next: string | undefined): string {
  const base = 'https://runner.example.com';
  // A browser takes `//host` and `/\host` for another host.
  if (next === undefined || !/^\/[a-z]/.test(next) || !URL.canParse(next, base)) return home;
  const { origin, pathname, search } = new URL(next, base);
  if (origin !== base || !/^\/(dashboard|connect)(\/|$)/.test(pathname)) return home;
  return pathname + search;
}
