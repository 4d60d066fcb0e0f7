import type { ResolvedModel } from './taskService.ts';

/** Something with which a user can prove who they are, and where it was found. Never holds a value. */
export interface CredentialSource {
  /**
   * Stable, for settings: `stored`, `env:ANTHROPIC_API_KEY`, `login` (~/.claude/.credentials.json or the macOS keychain),
   * `claude-json`, `bedrock:PROFILE`, `bedrock-env`, `vertex`, `demonstration`, `github:gh`, `github:env`, `identity`.
   */
  id: string;
  purpose: 'model' | 'forge' | 'identity';
  /** For people: "Claude login from ~/.claude/.credentials.json". */
  label: string;
  state: 'ready' | 'expired' | 'unusable';
  /** What is known besides: an account, an expiry, a region, or why it cannot be used. A sentence or a phrase. */
  detail: string;
  mend?: string;
}

export interface ChosenSource extends ResolvedModel {
  sourceId: string;
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
