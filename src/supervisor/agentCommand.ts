import type { AgentAdapter, AgentCommand, AgentPlace } from '../agent/adapter.ts';
import { paths } from '../protocol/control.ts';
import { hasOwnImage, type TaskSpec } from '../protocol/task.ts';
import { imageEnvironment } from './ownImage.ts';
import { proxyEnvironment, type ProxyEnvironment } from './proxyEnvironment.ts';

/** How an agent is started. */
export interface AgentStart {
  /** With the whole environment. */
  command: AgentCommand;
  /** What of the environment is from the image, and for the network: a shell in the sandbox has it too. */
  surroundings: Readonly<Record<string, string>>;
  /** For programs that read their proxy from a file. */
  proxyFiles: ProxyEnvironment['files'];
}

/** Pure. @param environment the container's own, of which the agent gets a part in an image of the user's */
export function agentStart(
  adapter: AgentAdapter,
  spec: TaskSpec,
  place: AgentPlace,
  environment: Readonly<Record<string, string | undefined>> = {},
): AgentStart {
  const { baseUrl, token, proxyUrl, home } = place;
  const own = hasOwnImage(spec);
  const proxy = proxyEnvironment(proxyUrl, home, own ? paths.toolsAuthorities : undefined);
  const command = adapter.command(spec, place);
  const below = own ? imageEnvironment(environment) : {};
  // The gateway asks for the task's token there too, which is worth nothing elsewhere.
  const forge = { SALLYPORT_FORGE_URL: `${baseUrl}/forge`, SALLYPORT_TASK_TOKEN: token };
  return {
    command: {
      ...command,
      env: { ...below, ...proxy.env, ...command.env, ...(spec.forge === true ? forge : {}) },
    },
    surroundings: { ...below, ...proxy.env },
    proxyFiles: proxy.files,
  };
}
