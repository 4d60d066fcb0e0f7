import { SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { connectEngine } from '../engine/connect.ts';
import { sandboxRecipe } from '../engine/imageRecipe.ts';
import type { ForgeAccess, Upstream } from '../protocol/control.ts';
import type { ModelService, TaskSpec } from '../protocol/task.ts';
import type { Admission } from './admission.ts';
import { openDataFolder } from './dataFolder.ts';
import { examine } from './doctor.ts';
import { readIsolation } from './isolation.ts';
import { LocalRunner } from './localRunner.ts';
import type { ModelSources } from './modelSources.ts';
import { RunnerTasks } from './runnerTasks.ts';
import type { ServedTasks } from './servedTasks.ts';
import type { ResolvedModel } from './taskService.ts';
import type { UserPolicy } from './userPolicy.ts';
import { WorkspaceStore } from './workspaceStore.ts';

// The extension loads all that runs tasks, and finds credentials for them, as one bundle.
export { createModelSources } from './modelSources.ts';
export { checkPrompt } from './submissionChecks.ts';

export interface LocalTaskOptions {
  /** Root of task logs and quarantines. */
  dataFolder: string;
  /** Folder with supervisor.js and gateway.js. */
  distFolder: string;
  /** Folder with the sandbox image's Dockerfile. */
  containerFolder: string;
  /** Socket path or URL of the engine; found by itself when undefined. */
  engineSetting: () => string | undefined;
  /** Asked at each start of a gateway, with the path of the task's repository. Throws `no_credentials`. */
  credentials: (repositoryPath?: string) => Promise<ResolvedModel>;
  /** Checks a credential before a task is submitted; and for the doctor, what was found, and a call of the model. */
  modelSources?: Pick<ModelSources, 'list' | 'check'>;
  /** The user's own settings for the network and money; read anew for each task. */
  policy: () => UserPolicy;
  /** What the sandbox of a task with `forge` in its spec may read; holds a token. */
  forge?: ForgeAccess | undefined;
  log: Logger;
  /** Longest log of a task, in bytes; a gibibyte when it is not said. */
  logBytes?: number;
  /** The queue before the sandboxes; without one every task gets its sandbox at once. */
  admission?: Admission;
}

/** Tasks on this machine's own engine. */
export async function createTaskService(options: LocalTaskOptions): Promise<ServedTasks> {
  const data = await openDataFolder(options.dataFolder);
  const workspaces = new WorkspaceStore(data.workspaces);
  const runner = new LocalRunner({
    data,
    connect: () => connectEngine(discoveryOptions(options)),
    recipe: () =>
      sandboxRecipe(options.distFolder, options.containerFolder, process.env, options.policy().extraCaFile),
    model: (spec) => modelFor(spec, options.credentials),
    policy: options.policy,
    forge: options.forge,
    log: options.log,
    logBytes: options.logBytes,
    admission: options.admission,
  });
  return new RunnerTasks(runner, {
    quarantineRoot: data.quarantine,
    workspaces,
    policy: options.policy,
    carriesOutSwitches: true,
    isolation: (wish, workspaceFolder) =>
      readIsolation(wish, {
        workspaceFolder,
        dataFolder: options.dataFolder,
        engineSetting: options.engineSetting(),
        env: process.env,
      }),
    model: async (repositoryPath, wanted, signal) => {
      const found = await options.credentials(repositoryPath);
      const { label, demonstration, service } = found;
      if (!demonstration) {
        const named = wanted === undefined ? {} : { model: wanted };
        await options.modelSources?.check(found, { ...named, signal });
      }
      return { label, demonstration, ...(service === undefined ? {} : { service }) };
    },
    doctor: (how) => examine(options, how),
  });
}

function discoveryOptions(options: LocalTaskOptions): Parameters<typeof connectEngine>[0] {
  const setting = options.engineSetting();
  return { env: process.env, ...(setting === undefined ? {} : { setting }) };
}

/**
 * A task keeps its kind of model for life: one that began with the demonstration never gets a credential, and the other way
 * round; and its agent speaks one service's protocol.
 */
async function modelFor(
  { model: { demonstration, service }, repository }: TaskSpec,
  credentials: LocalTaskOptions['credentials'],
): Promise<ResolvedModel> {
  const found = await credentials(repository.path).catch((thrown: unknown) => {
    if (!demonstration) throw thrown;
    return undefined;
  });
  if (found?.demonstration === demonstration) {
    const [began, now] = [service?.kind ?? 'anthropic', serviceKind(found.upstream)];
    if (began === now) return found;
    throw new SallyportError(
      'no_credentials',
      `The task began with ${serviceNames[began]}, and the credential is for ${serviceNames[now]} now.`,
      'Choose the former credential again, or start a new task.',
    );
  }
  if (demonstration)
    return { label: 'demonstration model', demonstration, upstream: { kind: 'demonstration' } };
  throw new SallyportError(
    'no_credentials',
    'The task began with a credential, and there is none now.',
    'Set the credential again, or start a new task.',
  );
}

const serviceNames: Record<ModelService['kind'], string> = {
  anthropic: 'the Anthropic API',
  bedrock: 'Amazon Bedrock',
  vertex: 'Vertex AI',
};

function serviceKind({ kind }: Upstream): ModelService['kind'] {
  return kind === 'bedrock' || kind === 'vertex' ? kind : 'anthropic';
}
