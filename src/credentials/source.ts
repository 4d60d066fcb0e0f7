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
