import type { FoundCredential } from '../credentials/credential.ts';
import type { Environment } from '../credentials/discover.ts';
import type { Exec } from '../credentials/exec.ts';
import type { CredentialSource } from '../credentials/source.ts';
import type { ResolvedModel } from './taskService.ts';

export type { CredentialSource };

export interface ChosenSource extends ResolvedModel {
  sourceId: string;
  /** The model that the settings name for this service, such as a Bedrock inference profile. */
  model?: string;
}

/** Finds, chooses, checks and renews credentials, on this machine. */
export interface ModelSources {
  /** In the order in which they would be chosen. Reads files and environment; calls no network. */
  list(): Promise<CredentialSource[]>;
  /**
   * The explicit choice, or the first that is ready. Throws `no_credentials`, `invalid_credential`, `auth_expired`,
   * `cloud_misconfigured`. May renew what has expired.
   * @param wanted id of a source
   */
  choose(wanted: string | undefined, signal?: AbortSignal): Promise<ChosenSource>;
  /**
   * Asks the model's service whether the credential is good: without cost, or with `deep` by a request for one token.
   * A good answer is remembered for ten minutes. Throws `auth_expired`, `auth_refused`, `capacity_reached`,
   * `not_enabled`, `model_unreachable`.
   */
  check(
    model: ResolvedModel,
    options?: { deep?: boolean; model?: string; signal?: AbortSignal },
  ): Promise<void>;
}

/** The user's own settings, wherever they are kept; read anew for each call. */
export interface ModelSettings {
  /**
   * `auto`: the first source that is ready. `credentials`: the same without the demonstration. `demonstration`,
   * `bedrock`, `vertex`: that service. Anything else: id of a source.
   */
  modelSource: string;
  awsProfile?: string;
  awsRegion?: string;
  /** Model id or ARN of an inference profile. */
  bedrockModel?: string;
  /** ARN of a role to take on with the profile's credentials. */
  roleArn?: string;
  /** Life of the temporary AWS credentials, in seconds: 900 to 43200. */
  sessionSeconds?: number;
  /** JSON of an IAM policy that narrows the temporary credentials down. */
  sessionPolicy?: string;
  vertexProject?: string;
  vertexRegion?: string;
}

export interface ModelSourceOptions {
  env: Environment;
  homeFolder: string;
  /** The credential that the user gave to Sallyport itself. Asked at each call. */
  stored: () => Promise<FoundCredential | undefined>;
  settings: () => ModelSettings;
  /** Asks the user for a code of the MFA device of an AWS profile; without it such profiles cannot be used. */
  askMfaCode?: (serial: string) => Promise<string | undefined>;
  platform?: NodeJS.Platform;
  exec?: Exec;
  /** Milliseconds since the epoch. */
  now?: () => number;
  /** Without it, the network as the environment's proxy variables say. */
  fetch?: typeof fetch;
}

export function createModelSources(_options: ModelSourceOptions): ModelSources {
  throw new Error('Not there yet');
}
