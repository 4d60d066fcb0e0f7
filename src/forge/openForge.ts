import { Bitbucket } from './bitbucket.ts';
import { BitbucketDataCenter } from './bitbucketDataCenter.ts';
import type { TokenOwner } from './failures.ts';
import type { Forge } from './forge.ts';
import type { ForgePlace } from './forgeOf.ts';
import { Gitea } from './gitea.ts';
import { GitHub } from './github.ts';
import { GitLab } from './gitlab.ts';

/** The token was given for the host of the place, and goes nowhere else. */
export interface ForgeToken {
  token: string;
  /** Of an API token of Bitbucket's, the e-mail address that belongs to it. */
  user?: string;
  /** Who can do something about a token that is refused. */
  owner: TokenOwner;
}

/** The forge of a place, with somebody's token. Connects to nothing yet. */
export function openForge(
  { kind, webUrl, apiUrl }: Pick<ForgePlace, 'kind' | 'webUrl' | 'apiUrl'>,
  token: ForgeToken,
): Forge {
  const options = { webUrl, apiUrl, ...token };
  switch (kind) {
    case 'github':
      return new GitHub(options);
    case 'gitlab':
      return new GitLab(options);
    case 'gitea':
      return new Gitea(options);
    case 'bitbucket':
      return new Bitbucket(options);
    case 'bitbucket-data-center':
      return new BitbucketDataCenter(options);
  }
}
