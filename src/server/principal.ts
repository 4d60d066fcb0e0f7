import { SallyportError } from '../base/errors.ts';
import type { Role, Scope } from '../protocol/runnerApi.ts';

export interface User {
  id: string;
  login: string;
  name: string;
  role: Role;
}

/** Who asks, and what the credential that was shown may do. */
export interface Principal {
  user: User;
  scopes: ReadonlySet<Scope>;
  /** Requests of a browser's session have to come from the server's own pages; those with a token need not. */
  via: 'session' | 'token';
  /** Id of the session or the token. */
  credential: string;
}

/** The one who asks; behind a route whose access is not public there always is one. Throws `unauthorized` where nobody is signed in. */
export function asking(principal: Principal | undefined): Principal {
  if (principal !== undefined) return principal;
  throw new SallyportError('unauthorized', 'This needs a credential.', 'Sign in, or send an API token.');
}
