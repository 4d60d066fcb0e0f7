import { createHash } from 'node:crypto';
import { SallyportError } from '../base/errors.ts';
import { checkAnthropic } from '../credentials/anthropicCheck.ts';
import { type ClaudeConfig, printable, readClaudeConfig } from '../credentials/claudeConfig.ts';
import { type AccessToken, ClaudeLogin, type LoginStatus } from '../credentials/claudeLogin.ts';
import { anthropicUrl, type FoundCredential, upstreamOf } from '../credentials/credential.ts';
import {
  demonstrationModel,
  demonstrationWanted,
  type Environment,
  environmentCredentials,
  type Variable,
} from '../credentials/discover.ts';
import { type Exec, execProgram } from '../credentials/exec.ts';
import { forgeSources, identitySource } from '../credentials/hostSources.ts';
import { fetchThroughEnvironment } from '../credentials/reach.ts';
import type { CredentialSource } from '../credentials/source.ts';
import { nonEmpty, type Surroundings } from '../credentials/surroundings.ts';
import { hostAuthorities } from '../engine/hostAuthorities.ts';
import type { Upstream } from '../protocol/control.ts';
import { BedrockSources } from './modelSourcesBedrock.ts';
import { broken, type Candidate } from './modelSourcesCandidate.ts';
import { VertexSources } from './modelSourcesVertex.ts';
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
   * `auth_refused`, `cloud_misconfigured`, `capacity_reached`, `model_unreachable`. May renew what has expired.
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
  /** Certificates (PEM) that are trusted on top of the public ones; without it those of this machine. */
  authorities?: () => readonly string[];
  /** Without it, the network as the environment's proxy variables say. */
  fetch?: typeof fetch;
}

/** A good answer of a service is remembered so long, in milliseconds. */
const rememberedMs = 10 * 60_000;

export function createModelSources(options: ModelSourceOptions): ModelSources {
  return new LocalSources(options);
}

class LocalSources implements ModelSources {
  private readonly options: ModelSourceOptions;
  private readonly around: Surroundings;
  private readonly login: ClaudeLogin;
  private readonly bedrock: BedrockSources;
  private readonly vertex: VertexSources;
  /** Digests of what was found good, with the time. */
  private readonly checked = new Map<string, number>();

  constructor(options: ModelSourceOptions) {
    this.options = options;
    const { env, homeFolder, platform = process.platform, exec = execProgram, now = Date.now } = options;
    let found: readonly string[] | undefined;
    const authorities = options.authorities ?? (() => (found ??= hostAuthorities(env)));
    const fetch = options.fetch ?? fetchThroughEnvironment(env, authorities);
    this.around = { env, home: homeFolder, platform, exec, now, fetch, authorities };
    this.login = new ClaudeLogin(this.around);
    this.bedrock = new BedrockSources(now, options.askMfaCode);
    this.vertex = new VertexSources(now);
  }

  async list(): Promise<CredentialSource[]> {
    const [model, forge, identity] = await Promise.all([
      this.candidates(),
      forgeSources(this.around),
      identitySource(this.around),
    ]);
    return [...model.map(({ source }) => source), ...forge, identity];
  }

  async choose(wanted: string | undefined, signal?: AbortSignal): Promise<ChosenSource> {
    const { modelSource } = this.options.settings();
    const named = wanted ?? (['auto', 'credentials', ''].includes(modelSource) ? undefined : modelSource);
    // Needs nothing that could be found.
    if (named === demonstrationId) return demonstration;
    const candidates = await this.candidates();
    if (named !== undefined) return await byName(candidates, named, this.around.env).open(signal);
    const automatic = candidates.filter((candidate) => candidate.automatic);
    const first = automatic.find(({ source }) => source.state === 'ready') ?? automatic[0];
    if (first !== undefined) return await first.open(signal);
    throw new SallyportError(
      'no_credentials',
      'There is no credential for the model.',
      'Set an Anthropic API key (also from ANTHROPIC_API_KEY), run `claude` and log in, or use the demonstration model, which needs none.',
    );
  }

  async check(
    { upstream, label }: ResolvedModel,
    { deep = false, model, signal }: { deep?: boolean; model?: string; signal?: AbortSignal } = {},
  ): Promise<void> {
    const key = createHash('sha256')
      .update(JSON.stringify([upstream, deep, model]))
      .digest('hex');
    const now = this.around.now();
    for (const [old, at] of this.checked) if (at + rememberedMs <= now) this.checked.delete(old);
    if (this.checked.has(key)) return;
    const { env, fetch } = this.around;
    const options = {
      deep,
      label: `the credential (${label})`,
      fetch,
      ...(model === undefined ? {} : { model }),
      ...(signal && { signal }),
    };
    switch (upstream.kind) {
      case 'anthropic':
        await checkAnthropic(upstream, options);
        break;
      case 'bedrock': {
        const { checkBedrock } = await import('../aws/bedrock.ts');
        const named = model ?? nonEmpty(this.options.settings().bedrockModel);
        await checkBedrock(upstream, {
          ...options,
          env,
          authorities: this.around.authorities(),
          ...(named === undefined ? {} : { model: named }),
        });
        break;
      }
      case 'vertex': {
        const { checkVertex } = await import('../google/vertex.ts');
        await checkVertex(upstream, options);
        break;
      }
      case 'demonstration':
      case 'scripted':
        return;
    }
    this.checked.set(key, this.around.now());
  }

  /** All sources of a model, in the order in which they are used. */
  private async candidates(): Promise<Candidate[]> {
    const settings = this.options.settings();
    const { env } = this.around;
    const context = { around: this.around, settings };
    const [stored, bedrock, vertex, config, login] = await Promise.all([
      this.options.stored(),
      this.bedrock.find(context),
      this.vertex.find(context),
      readClaudeConfig(this.around),
      this.login.status(),
    ]);
    const play = demonstrationWanted(env) && settings.modelSource !== 'credentials';
    return [
      ...(stored === undefined ? [] : [this.ofStore(stored)]),
      ...(play ? [demonstrationCandidate(true)] : []),
      ...bedrock.preferred,
      ...(vertex?.automatic === true ? [vertex] : []),
      ...environmentCredentials(env).map(ofVariable),
      ...this.ofLogin(login, config?.account),
      ...ofConfig(config),
      ...bedrock.others,
      ...(vertex?.automatic === false ? [vertex] : []),
      ...(play ? [] : [demonstrationCandidate(false)]),
    ];
  }

  private ofStore({ credential, label }: FoundCredential): Candidate {
    const upstream = upstreamOf(credential);
    return {
      source: { id: 'stored', purpose: 'model', label, state: 'ready', detail: hostOf(upstream) },
      automatic: true,
      open: () =>
        Promise.resolve({
          sourceId: 'stored',
          label,
          demonstration: false,
          upstream,
          renew: async () => {
            // The user may have replaced it while the task ran.
            const now = await this.options.stored();
            if (now !== undefined && now.credential.value !== credential.value)
              return upstreamOf(now.credential);
            throw new SallyportError(
              'auth_refused',
              `The model refuses the ${label}.`,
              'Set another credential.',
            );
          },
        }),
    };
  }

  private ofLogin(status: LoginStatus, account: string | undefined): Candidate[] {
    if (status.state === 'absent') return [];
    const label = `Claude login from ${status.place}`;
    if (status.state === 'unusable') {
      const problem = `${status.place} cannot be used: ${status.reason}.`;
      const failure = new SallyportError('invalid_credential', problem, 'Run `claude` and log in again.');
      return [broken({ id: 'login', label, state: 'unusable' }, true, failure)];
    }
    const detail = [account, status.detail].filter((part) => part !== undefined).join(', ');
    const source = { id: 'login', purpose: 'model', label, state: status.state, detail } as const;
    const mend = status.state === 'expired' ? { mend: 'Run `claude` and log in again.' } : {};
    return [
      { source: { ...source, ...mend }, automatic: true, open: (signal) => this.openLogin(label, signal) },
    ];
  }

  private async openLogin(label: string, signal = new AbortController().signal): Promise<ChosenSource> {
    const upstreamWith = ({ value, expiresAt }: AccessToken): Upstream => ({
      kind: 'anthropic',
      baseUrl: anthropicUrl,
      auth: { type: 'oauth', value },
      ...(expiresAt === undefined ? {} : { expiresAt }),
    });
    let token = await this.login.token(signal);
    return {
      sourceId: 'login',
      label,
      demonstration: false,
      upstream: upstreamWith(token),
      renew: async (reason, renewalSignal) => {
        token = await this.login.renew(token.value, reason, renewalSignal);
        return upstreamWith(token);
      },
    };
  }
}

const demonstrationId = 'demonstration';
const demonstration: ChosenSource = { sourceId: demonstrationId, ...demonstrationModel };

function demonstrationCandidate(automatic: boolean): Candidate {
  return {
    source: {
      id: demonstrationId,
      purpose: 'model',
      label: 'Demonstration model',
      state: 'ready',
      detail: automatic ? 'asked for by SALLYPORT_DEMONSTRATION' : 'a script, used when it is chosen',
    },
    automatic,
    open: () => Promise.resolve(demonstration),
  };
}

/** @throws SallyportError no_credentials, cloud_misconfigured */
function byName(candidates: readonly Candidate[], name: string, env: Environment): Candidate {
  if (name === 'bedrock') {
    const all = candidates.filter(({ source }) => source.id.startsWith('bedrock'));
    const usual = `bedrock:${nonEmpty(env['AWS_PROFILE']) ?? 'default'}`;
    const found =
      all.find(({ automatic }) => automatic) ?? all.find(({ source }) => source.id === 'bedrock-env');
    const candidate = found ?? all.find(({ source }) => source.id === usual);
    if (candidate !== undefined) return candidate;
    throw new SallyportError(
      'no_credentials',
      'There are no AWS credentials for Bedrock: no profile is named, and there is no default one.',
      'Name a profile (sallyport.bedrock.profile), or make one: `aws configure sso`.',
    );
  }
  const candidate = candidates.find(({ source }) => source.id === name);
  if (candidate !== undefined) return candidate;
  const shown = printable(name);
  throw new SallyportError(
    'no_credentials',
    `The credential that was chosen (${shown}) is not there.`,
    name === 'vertex'
      ? 'Run `gcloud auth application-default login`.'
      : 'Choose another with "Sallyport: Credentials", or set it again.',
  );
}

function ofVariable(variable: Variable): Candidate {
  const id = `env:${variable.name}`;
  if ('problem' in variable) {
    return broken({ id, label: variable.name, state: 'unusable' }, true, variable.problem);
  }
  const { credential, label } = variable.found;
  const upstream = upstreamOf(credential);
  return {
    source: { id, purpose: 'model', label, state: 'ready', detail: hostOf(upstream) },
    automatic: true,
    open: () => Promise.resolve({ sourceId: id, label, demonstration: false, upstream }),
  };
}

function ofConfig(config: ClaudeConfig | undefined): Candidate[] {
  if (config === undefined) return [];
  const id = 'claude-json';
  const { place, key, account, problem } = config;
  const label = `Anthropic API key from ${place}`;
  const reason = problem ?? (key !== undefined && 'problem' in key ? key.problem : undefined);
  if (reason !== undefined) {
    const message = `${place} cannot be used: ${reason.replace(/\.$/, '')}.`;
    const failure = new SallyportError('invalid_credential', message, 'Run `claude` and log in again.');
    return [broken({ id, label, state: 'unusable' }, true, failure)];
  }
  if (key === undefined || 'problem' in key) return [];
  const upstream = upstreamOf(key.credential);
  return [
    {
      source: { id, purpose: 'model', label, state: 'ready', detail: account ?? hostOf(upstream) },
      automatic: true,
      open: () => Promise.resolve({ sourceId: id, label, demonstration: false, upstream }),
    },
  ];
}

function hostOf(upstream: Upstream): string {
  return upstream.kind === 'anthropic' ? (URL.parse(upstream.baseUrl)?.host ?? '') : upstream.kind;
}
