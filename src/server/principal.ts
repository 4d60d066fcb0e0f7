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
