import * as vscode from 'vscode';
import * as z from 'zod/mini';
import type { ModelSource } from '../credentials/discover.ts';
import { EgressMode } from '../protocol/egress.ts';
import { defaultLimits, type Limits, maxCommitMessage, SnapshotMode } from '../protocol/task.ts';
import { defaultKeep } from '../runner/keptSandboxes.ts';
import type { UserPolicy } from '../runner/userPolicy.ts';
import type { NoticeKind } from './view/notices.ts';
import { type PolicySettings, policyOf } from './view/policy.ts';

/** The settings of the manifest, checked: a value that does not fit counts as not set. */
export interface Settings {
  engineSocket: string;
  dataFolder: string;
  modelSource: ModelSource;
  modelName: string;
  snapshot: SnapshotMode | 'ask';
  limits: Limits;
  /** New tasks are conversations. */
  conversation: boolean;
  /** Whether the agent of a conversation asks before it uses a tool. */
  permissions: 'skip' | 'ask';
  /** Id of a credential source; empty for none. */
  credentialSource: string;
  bedrock: {
    profile: string;
    region: string;
    model: string;
    roleArn: string;
    sessionSeconds: number;
    sessionPolicy: string;
  };
  vertex: { project: string; region: string };
  /** Name or address of a runner; empty for none. */
  defaultRunner: string;
  /** What new tasks do with their commits by themselves. */
  switches: { autoPush: boolean; draftEarly: boolean; autoPullRequest: boolean };
  policy: PolicySettings;
}

const within = (min: number, max: number, fallback: number): z.ZodMiniType<number> =>
  z.catch(z.number().check(z.minimum(min), z.maximum(max)), fallback);
const text = z.catch(z.string(), '');

const schemas = {
  'engine.socket': text,
  dataFolder: text,
  'model.source': z.catch(z.enum(['auto', 'credentials', 'demonstration']), 'auto'),
  'model.name': text,
  'credentials.source': text,
  'bedrock.profile': text,
  'bedrock.region': text,
  'bedrock.model': text,
  'bedrock.roleArn': text,
  'bedrock.sessionSeconds': within(900, 43_200, 3600),
  'bedrock.sessionPolicy': text,
  'vertex.project': text,
  'vertex.region': text,
  'runner.default': text,
  'task.snapshot': z.catch(z.enum(['ask', ...SnapshotMode.options]), 'ask'),
  'task.conversation': z.catch(z.boolean(), false),
  'task.permissions': z.catch(z.enum(['skip', 'ask']), 'skip'),
  'task.commitMessage': z.catch(z.string().check(z.maxLength(maxCommitMessage)), ''),
  'task.keepConversationMinutes': within(0, 10_080, defaultKeep.conversationMs / 60_000),
  'task.keepOtherMinutes': within(0, 10_080, defaultKeep.taskMs / 60_000),
  'task.keptSandboxes': within(0, 100, defaultKeep.count),
  'task.timeLimitMinutes': within(1, 1440, defaultLimits.timeMs / 60_000),
  'task.memoryGiB': within(0.5, 1024, defaultLimits.memoryBytes / 2 ** 30),
  'task.cpus': within(0.25, 256, defaultLimits.cpus),
  'task.processes': within(64, 65_536, defaultLimits.pids),
  'task.diskGiB': within(1, 4096, defaultLimits.diskBytes / 2 ** 30),
  'publish.autoPush': z.catch(z.boolean(), false),
  'publish.draftEarly': z.catch(z.boolean(), false),
  'publish.autoPullRequest': z.catch(z.boolean(), false),
  // A mode that is none must not open anything.
  'egress.mode': z.catch(EgressMode, 'closed'),
  'egress.rules': z.catch(z.array(z.string()), []),
  'egress.includeRegistries': z.catch(z.boolean(), false),
  'egress.holdSeconds': within(0, 600, 20),
  'network.proxy': text,
  'network.extraCa': text,
  'budget.perTask': within(0, 1_000_000, 0),
  'budget.perDay': within(0, 1_000_000, 0),
  'sandbox.runtime': text,
  'sandbox.readOnlyRoot': z.catch(z.boolean(), true),
  'sandbox.image': text,
  'sandbox.dockerfile': text,
  // Each is read, or refused, where the policy is made.
  'sandbox.mounts': z.catch(z.unknown(), []),
};

export function readSettings(): Settings {
  const configuration = vscode.workspace.getConfiguration('sallyport');
  const read = <K extends keyof typeof schemas>(key: K): z.infer<(typeof schemas)[K]> =>
    schemas[key].parse(configuration.get(key)) as z.infer<(typeof schemas)[K]>;
  return {
    engineSocket: read('engine.socket').trim(),
    dataFolder: read('dataFolder').trim(),
    modelSource: read('model.source'),
    modelName: read('model.name').trim(),
    snapshot: read('task.snapshot'),
    conversation: read('task.conversation'),
    permissions: read('task.permissions'),
    limits: {
      timeMs: Math.round(read('task.timeLimitMinutes') * 60_000),
      memoryBytes: Math.round(read('task.memoryGiB') * 2 ** 30),
      cpus: read('task.cpus'),
      pids: Math.round(read('task.processes')),
      diskBytes: Math.round(read('task.diskGiB') * 2 ** 30),
    },
    credentialSource: read('credentials.source').trim(),
    bedrock: {
      profile: read('bedrock.profile').trim(),
      region: read('bedrock.region').trim(),
      model: read('bedrock.model').trim(),
      roleArn: read('bedrock.roleArn').trim(),
      sessionSeconds: Math.round(read('bedrock.sessionSeconds')),
      sessionPolicy: read('bedrock.sessionPolicy').trim(),
    },
    vertex: { project: read('vertex.project').trim(), region: read('vertex.region').trim() },
    defaultRunner: read('runner.default').trim(),
    switches: {
      autoPush: read('publish.autoPush'),
      draftEarly: read('publish.draftEarly'),
      autoPullRequest: read('publish.autoPullRequest'),
    },
    policy: {
      mode: read('egress.mode'),
      rules: read('egress.rules'),
      includeRegistries: read('egress.includeRegistries'),
      holdSeconds: read('egress.holdSeconds'),
      proxy: read('network.proxy').trim(),
      noProxy: process.env['NO_PROXY'] ?? process.env['no_proxy'] ?? '',
      extraCa: read('network.extraCa').trim(),
      perTaskUsd: read('budget.perTask'),
      perDayUsd: read('budget.perDay'),
      runtime: read('sandbox.runtime').trim(),
      readOnlyRoot: read('sandbox.readOnlyRoot'),
      image: read('sandbox.image').trim(),
      dockerfile: read('sandbox.dockerfile').trim(),
      mounts: read('sandbox.mounts'),
      commitMessage: read('task.commitMessage').trim(),
      keep: {
        conversationMs: Math.round(read('task.keepConversationMinutes') * 60_000),
        taskMs: Math.round(read('task.keepOtherMinutes') * 60_000),
        count: Math.floor(read('task.keptSandboxes')),
      },
    },
  };
}

/** Hosts at which there is a forge, as the setting has them: checked where they are used. */
export function forgeHosts(): unknown {
  return vscode.workspace.getConfiguration('sallyport').get<unknown>('forge.hosts');
}

/** Whether forges are asked now and then how pull requests stand. */
export function watchesPullRequests(): boolean {
  return vscode.workspace.getConfiguration('sallyport').get<unknown>('publish.watch') !== false;
}

/** Whether notifications of a kind are shown. */
export function showsNotices(kind: NoticeKind): boolean {
  const kinds = z.catch(z.record(z.string(), z.unknown()), {});
  const set = kinds.parse(vscode.workspace.getConfiguration('sallyport').get<unknown>('notifications'));
  return set[kind] !== false;
}

/** Whether a notification makes a sound. */
export function rings(): boolean {
  return vscode.workspace.getConfiguration('sallyport').get<unknown>('notificationSound') === true;
}

/** @throws SallyportError invalid_rule, invalid_input for a setting that cannot be right */
export function readPolicy(): UserPolicy {
  return policyOf(readSettings().policy);
}
