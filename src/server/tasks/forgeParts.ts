import type { Logger } from '../../base/logger.ts';
import type { BrowsableForge } from '../../forge/forge.ts';
import { GitHub } from '../../forge/github.ts';
import { fetchCommit } from '../../git/fetchUrl.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { ServerConfig } from '../config.ts';
import { createFinder } from './finder.ts';
import { createPublisher } from './publisher.ts';
import type { FetchCommit, Finder, Publisher } from './seams.ts';

/** All that has to do with forges, as the server's tasks take it. Without a forge there is no finder. */
export interface ForgeParts {
  fetchCommit: FetchCommit;
  finder: Finder | undefined;
  publisher: Publisher;
}

export function createForgeParts(parts: {
  config: Pick<ServerConfig, 'forge' | 'privateForges' | 'limits' | 'queue'>;
  service: ServedTasks;
  log: Logger;
}): ForgeParts {
  const { config, service, log } = parts;
  const forge = forgeOf(config.forge);
  return {
    fetchCommit: ({ token, ...request }) =>
      fetchCommit({
        ...request,
        // Whoever gives a token has seen to it that the address is one of its forge.
        ...(token === undefined
          ? {}
          : { credential: { origin: request.url, user: 'x-access-token', password: token } }),
      }),
    finder: forge === undefined ? undefined : createFinder({ forge, service, config }),
    publisher: createPublisher({ forge, privateHosts: config.privateForges, log }),
  };
}

function forgeOf(config: ServerConfig['forge']): BrowsableForge | undefined {
  return config === undefined ? undefined : new GitHub(config);
}
