/** The pages of the dashboard, each with an address of its own. */
export type Place =
  | { page: 'setup'; secret: string }
  | { page: 'signin'; next: string }
  | { page: 'connect'; callback: string; challenge: string; state: string; name: string }
  | { page: 'tasks' }
  | { page: 'new' }
  | { page: 'task'; id: string }
  | { page: 'tokens' | 'account' | 'users' | 'audit' }
  | { page: 'unknown' };

/** Where the page of this address begins; what is not known is `unknown`. */
export function placeOf(url: URL): Place {
  const parts = url.pathname.split('/').filter((part) => part !== '');
  const query = (name: string): string => url.searchParams.get(name) ?? '';
  const [first, second, third, ...more] = parts;
  if (more.length > 0) return { page: 'unknown' };
  if (second === undefined) {
    switch (first) {
      case 'setup':
        return { page: 'setup', secret: decodeURIComponentSafely(url.hash.slice(1)) };
      case 'signin':
        return { page: 'signin', next: ownPath(query('next')) };
      case 'connect':
        return {
          page: 'connect',
          callback: query('callback'),
          challenge: query('challenge'),
          state: query('state'),
          name: query('name'),
        };
      case 'dashboard':
        return { page: 'tasks' };
      default:
        return { page: 'unknown' };
    }
  }
  if (first !== 'dashboard') return { page: 'unknown' };
  if (third !== undefined) {
    return second === 'tasks' && /^[a-z0-9]{10,32}$/.test(third)
      ? { page: 'task', id: third }
      : { page: 'unknown' };
  }
  switch (second) {
    case 'new':
    case 'tokens':
    case 'account':
    case 'users':
    case 'audit':
      return { page: second };
    default:
      return { page: 'unknown' };
  }
}

/** The address of a page, from the root of the server. */
export function pathOf(place: Place): string {
  switch (place.page) {
    case 'setup':
      return `/setup${place.secret === '' ? '' : `#${encodeURIComponent(place.secret)}`}`;
    case 'signin':
      return place.next === home ? '/signin' : `/signin?${new URLSearchParams({ next: place.next })}`;
    case 'connect': {
      const { page: _, ...query } = place;
      return `/connect?${new URLSearchParams(query)}`;
    }
    case 'task':
      return `/dashboard/tasks/${place.id}`;
    case 'tasks':
    case 'unknown':
      return home;
    default:
      return `/dashboard/${place.page}`;
  }
}

export const home = '/dashboard';

/** A path of the dashboard to go on to; anything else, such as another host, is its home. */
export function ownPath(next: string): string {
  // A browser takes `//host` and `/\host` for another host.
  if (!/^\/[a-z]/.test(next)) return home;
  const base = 'https://runner.example.com';
  const url = URL.canParse(next, base) ? new URL(next, base) : undefined;
  if (url === undefined || url.origin !== base) return home;
  const { page } = placeOf(url);
  return page === 'unknown' || page === 'signin' || page === 'setup' ? home : url.pathname + url.search;
}

/** True for a page that needs nobody to be signed in. */
export function isPublic(place: Place): boolean {
  return place.page === 'setup' || place.page === 'signin';
}

function decodeURIComponentSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
