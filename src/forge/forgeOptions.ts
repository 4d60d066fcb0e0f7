import type { TokenOwner } from './failures.ts';
import type { ForgePlace } from './forgeOf.ts';

/** Where a forge is, and who asks there. */
export interface ForgeOptions extends Pick<ForgePlace, 'webUrl' | 'apiUrl'> {
  /** Goes to the API at `apiUrl` and to repositories at `webUrl`, and nowhere else. */
  token: string;
  /** Of those forges whose tokens need it: the e-mail address to an API token of Bitbucket's. */
  user?: string;
  /** The runner's by default. */
  owner?: TokenOwner;
}
