import type { Logger } from '../../base/logger.ts';
import type { Forge } from '../../forge/forge.ts';
import { GitHub } from '../../forge/github.ts';
import { openForge } from '../../forge/openForge.ts';
import { fetchCommit } from '../../git/fetchUrl.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { OtherForge, ServerConfig } from '../config.ts';
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
  config: Pick<ServerConfig, 'forge' | 'otherForges' | 'privateForges' | 'limits' | 'queue'>;
  service: ServedTasks;
  log: Logger;
}): ForgeParts {
  const { config, service, log } = parts;
  // Only of GitHub a gateway can read what an orchestrator has to see.
  const browsable = config.forge === undefined ? undefined : new GitHub(config.forge);
  const others = (config.otherForges ?? []).map(otherForge);
  const forges = browsable === undefined ? others : [browsable, ...others];
  return {
    fetchCommit: ({ token, ...request }) => {
      const credential = forges.find((one) => one.credential.password === token)?.credential;
      return fetchCommit({
        ...request,
        // Whoever gives a token has seen to it that the address is one of its forge.
        ...(token === undefined || credential === undefined
          ? {}
          : { credential: { ...credential, origin: request.url } }),
      });
    },
    finder: browsable === undefined ? undefined : createFinder({ forge: browsable, service, config }),
    publisher: createPublisher({ forges, privateHosts: config.privateForges, log }),
  };
}

function otherForge({ token, user, ...place }: OtherForge): Forge {
  return openForge(place, { token, owner: 'runner', ...(user === undefined ? {} : { user }) });
}
