import type { temporaryKeys } from '../aws/bedrock.ts';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import {
  type AwsConfiguration,
  type AwsProfile,
  describeProfile,
  readAwsConfiguration,
  ssoState,
} from '../credentials/awsProfiles.ts';
import { checkRegion, checkWishes, problemWithBedrockModel } from '../credentials/bedrockNames.ts';
import { SharedTokens } from '../credentials/sharedTokens.ts';
import { nonEmpty } from '../credentials/surroundings.ts';
import type { Upstream } from '../protocol/control.ts';
import type { ChosenSource } from './modelSources.ts';
import { broken, type Candidate, type CloudContext, isOn, misconfigured } from './modelSourcesCandidate.ts';

type Keys = Awaited<ReturnType<typeof temporaryKeys>>;

/** Finds what Amazon Bedrock can be used with, and shares the temporary credentials among tasks. */
export class BedrockSources {
  private readonly shared: SharedTokens<Keys>;
  private readonly askMfaCode: ((serial: string) => Promise<string | undefined>) | undefined;

  constructor(now: () => number, askMfaCode: ((serial: string) => Promise<string | undefined>) | undefined) {
    this.shared = new SharedTokens(now, ({ accessKeyId }) => accessKeyId);
    this.askMfaCode = askMfaCode;
  }

  /** `preferred` are those that a setting or the environment asks for. */
  async find(context: CloudContext): Promise<{ preferred: Candidate[]; others: Candidate[] }> {
    const { around, settings } = context;
    const configuration = await readAwsConfiguration(around);
    const asked = isOn(around.env['CLAUDE_CODE_USE_BEDROCK']);
    const named = nonEmpty(settings.awsProfile);
    const preferred: Candidate[] = [];
    const others: Candidate[] = [];
    const environment = this.ofEnvironment(context, configuration, asked);
    if (environment !== undefined) (asked ? preferred : others).push(environment);
    for (const profile of configuration.profiles) {
      const wanted = profile.name === named;
      const candidate = await this.ofProfile(context, configuration, profile, wanted);
      if (wanted) preferred.unshift(candidate);
      else others.push(candidate);
    }
    if (named !== undefined && !configuration.profiles.some(({ name }) => name === named)) {
      const id = `bedrock:${named}`;
      preferred.unshift(
        broken(
          { id, label: `Amazon Bedrock with the AWS profile ${named}`, state: 'unusable' },
          true,
          absent(configuration),
        ),
      );
    }
    for (const problem of configuration.problems) {
      const failure = misconfigured(
        problem,
        'Correct the file, or name another in AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE.',
      );
      const label = 'Amazon Bedrock with the AWS configuration';
      others.push(broken({ id: 'bedrock:', label, state: 'unusable' }, false, failure));
    }
    return { preferred, others };
  }

  private ofEnvironment(
    context: CloudContext,
    configuration: AwsConfiguration,
    asked: boolean,
  ): Candidate | undefined {
    const { env } = context.around;
    const bearer = nonEmpty(env['AWS_BEARER_TOKEN_BEDROCK']);
    const hasKeys = nonEmpty(env['AWS_ACCESS_KEY_ID']) !== undefined;
    if (!asked && bearer === undefined && !hasKeys) return undefined;
    const automatic = asked || bearer !== undefined;
    const profileName = nonEmpty(env['AWS_PROFILE']);
    const id = 'bedrock-env';
    try {
      if (bearer !== undefined) return this.ofBearer(context, bearer);
      if (hasKeys || profileName === undefined) {
        const label = 'Amazon Bedrock with AWS credentials of the environment';
        const what = hasKeys
          ? nonEmpty(env['AWS_SESSION_TOKEN']) === undefined
            ? 'long-lived keys, exchanged for temporary ones'
            : 'temporary keys'
          : "what the AWS tools find: the default profile, the container's or the machine's role";
        const region = nonEmpty(env['AWS_REGION']) ?? nonEmpty(env['AWS_DEFAULT_REGION']);
        const detail = [what, nonEmpty(context.settings.awsRegion) ?? region]
          .filter((part) => part !== undefined)
          .join(', ');
        if (hasKeys && nonEmpty(env['AWS_SECRET_ACCESS_KEY']) === undefined) {
          const problem = 'There is AWS_ACCESS_KEY_ID, and no AWS_SECRET_ACCESS_KEY.';
          return broken(
            { id, label, state: 'unusable' },
            automatic,
            new SallyportError('invalid_credential', problem, 'Set both.'),
          );
        }
        const open = (signal?: AbortSignal): Promise<ChosenSource> =>
          this.open(context, configuration, id, label, undefined, signal);
        return { source: { id, purpose: 'model', label, state: 'ready', detail }, automatic, open };
      }
      const profile = configuration.profiles.find(({ name }) => name === profileName);
      const label = `Amazon Bedrock with the AWS profile ${profileName} (AWS_PROFILE)`;
      if (profile === undefined)
        return broken({ id, label, state: 'unusable' }, automatic, absent(configuration));
      const detail = describeProfile(profile);
      const open = (signal?: AbortSignal): Promise<ChosenSource> =>
        this.open(context, configuration, id, label, profile, signal);
      return { source: { id, purpose: 'model', label, state: 'ready', detail }, automatic, open };
    } catch (thrown) {
      const label = 'Amazon Bedrock as the environment says';
      return broken({ id, label, state: 'unusable' }, automatic, asSallyportError(thrown));
    }
  }

  private ofBearer(context: CloudContext, value: string): Candidate {
    const { settings, around } = context;
    const id = 'bedrock-env';
    const label = 'Amazon Bedrock API key from AWS_BEARER_TOKEN_BEDROCK';
    if (!/^[\x21-\x7e]{8,8192}$/.test(value)) {
      const problem = 'It is too short, or holds a character that no key has.';
      const failure = new SallyportError('invalid_credential', problem, 'Set AWS_BEARER_TOKEN_BEDROCK anew.');
      return broken({ id, label, state: 'unusable' }, true, failure);
    }
    const region = regionOf(context, undefined, 'the Bedrock API key');
    return {
      source: { id, purpose: 'model', label, state: 'ready', detail: region },
      automatic: true,
      open: () => {
        const upstream: Upstream = {
          kind: 'bedrock',
          region,
          ...endpoint(around.env),
          auth: { type: 'bearer', value },
        };
        return Promise.resolve({
          sourceId: id,
          label,
          demonstration: false,
          service: { kind: 'bedrock', region },
          upstream,
          ...modelOf(settings.bedrockModel, region),
        });
      },
    };
  }

  private async ofProfile(
    context: CloudContext,
    configuration: AwsConfiguration,
    profile: AwsProfile,
    wanted: boolean,
  ): Promise<Candidate> {
    const id = `bedrock:${profile.name}`;
    const label = `Amazon Bedrock with the AWS profile ${profile.name}`;
    const root = rootOf(configuration, profile);
    const command = `aws sso login --profile ${profile.name}`;
    if (root.kind === 'none') {
      const problem = `The profile ${root.name} names no credentials.`;
      const failure = misconfigured(problem, 'Add keys, a role, or single sign-on: `aws configure`.');
      return broken({ id, label, state: 'unusable' }, wanted, failure);
    }
    const mfa = profile.mfaSerial ?? root.mfaSerial;
    if (mfa !== undefined && this.askMfaCode === undefined) {
      const problem = `The profile ${profile.name} asks for an MFA code, and nobody can be asked for one here.`;
      const mend =
        'Keep temporary credentials in a profile (`aws sts get-session-token --serial-number … --token-code …`), or use single sign-on.';
      return broken({ id, label, state: 'unusable' }, wanted, misconfigured(problem, mend));
    }
    const state = root.kind === 'sso' ? await ssoState(root, context.around) : 'ready';
    const detail = [describeProfile(profile), wanted ? undefined : 'used when it is chosen'];
    return {
      source: {
        id,
        purpose: 'model',
        label,
        state,
        detail: (state === 'expired' ? ['the single sign-on has expired', ...detail] : detail)
          .filter((part) => part !== undefined)
          .join(', '),
        ...(state === 'expired' ? { mend: `Run \`${command}\`.` } : {}),
      },
      automatic: wanted,
      open: (signal) => this.open(context, configuration, id, label, profile, signal),
    };
  }

  private async open(
    { around, settings }: CloudContext,
    configuration: AwsConfiguration,
    id: string,
    name: string,
    profile: AwsProfile | undefined,
    signal: AbortSignal | undefined,
  ): Promise<ChosenSource> {
    const { env } = around;
    const source = profile === undefined ? 'the environment' : `the profile ${profile.name}`;
    const region = regionOf({ around, settings }, profile, source);
    const wishes = {
      ...(nonEmpty(settings.roleArn) === undefined ? {} : { roleArn: settings.roleArn?.trim() ?? '' }),
      ...(settings.sessionSeconds === undefined ? {} : { sessionSeconds: settings.sessionSeconds }),
      ...(nonEmpty(settings.sessionPolicy) === undefined
        ? {}
        : { sessionPolicy: settings.sessionPolicy ?? '' }),
    };
    checkWishes(wishes);
    const model = modelOf(settings.bedrockModel, region);
    const { askMfaCode } = this;
    const make = async (): Promise<Keys> => {
      const aws = await import('../aws/bedrock.ts');
      return await aws.temporaryKeys({
        ...wishes,
        ...(profile === undefined ? {} : { profile, rootKind: rootOf(configuration, profile).kind }),
        files: configuration.files,
        region,
        env,
        authorities: around.authorities(),
        ...(askMfaCode && { askMfaCode }),
      });
    };
    const key = JSON.stringify([id, region, wishes, profile, configuration.files]);
    const upstreamOf = ({ accessKeyId, secretAccessKey, sessionToken, expiresAt }: Keys): Upstream => ({
      kind: 'bedrock',
      region,
      ...endpoint(env),
      auth: {
        type: 'keys',
        accessKeyId,
        secretAccessKey,
        ...(sessionToken === undefined ? {} : { sessionToken }),
      },
      ...(expiresAt === undefined ? {} : { expiresAt }),
    });
    let keys = await this.shared.get(key, make, signal);
    return {
      sourceId: id,
      label: `${name} (${region})`,
      demonstration: false,
      service: { kind: 'bedrock', region },
      upstream: upstreamOf(keys),
      ...model,
      renew: async (_reason, renewalSignal) => {
        const fresh = await this.shared.renew(key, keys, make, renewalSignal);
        if (fresh === undefined) {
          throw new SallyportError(
            'auth_expired',
            `AWS does not accept the credentials of ${source} any more, and ${source} gives the same ones again.`,
            'Put new ones there, then start the task again.',
          );
        }
        keys = fresh;
        return upstreamOf(fresh);
      },
    };
  }
}

/** The profile at the end of `source_profile`: where the first credentials come from. */
function rootOf(configuration: AwsConfiguration, profile: AwsProfile): AwsProfile {
  const seen = new Set([profile.name]);
  let root = profile;
  while (root.kind === 'role' && root.sourceProfile !== undefined) {
    const next = configuration.profiles.find(({ name }) => name === root.sourceProfile);
    if (next === undefined || seen.has(next.name)) break;
    seen.add(next.name);
    root = next;
  }
  return root;
}

function regionOf(
  { around, settings }: CloudContext,
  profile: AwsProfile | undefined,
  source: string,
): string {
  const { env } = around;
  const text =
    nonEmpty(settings.awsRegion) ??
    nonEmpty(env['AWS_REGION']) ??
    nonEmpty(env['AWS_DEFAULT_REGION']) ??
    profile?.region;
  return checkRegion(text, source);
}

function modelOf(text: string | undefined, region: string): { model?: string } {
  const model = nonEmpty(text);
  if (model === undefined) return {};
  const problem = problemWithBedrockModel(model, region);
  if (problem !== undefined)
    throw misconfigured(`The Bedrock model cannot be used. ${problem}`, 'Correct sallyport.bedrock.model.');
  return { model };
}

function endpoint(env: CloudContext['around']['env']): { endpoint?: string } {
  const text =
    nonEmpty(env['ANTHROPIC_BEDROCK_BASE_URL']) ?? nonEmpty(env['AWS_ENDPOINT_URL_BEDROCK_RUNTIME']);
  if (text === undefined) return {};
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw misconfigured(
      'The address of the Bedrock endpoint is no plain URL.',
      'Correct ANTHROPIC_BEDROCK_BASE_URL or AWS_ENDPOINT_URL_BEDROCK_RUNTIME.',
    );
  }
  return { endpoint: url.href.replace(/\/+$/, '') };
}

function absent({ profiles }: AwsConfiguration): SallyportError {
  const names = profiles.map(({ name }) => name).slice(0, 10);
  return misconfigured(
    'There is no AWS profile of that name.',
    names.length === 0
      ? 'Make one: `aws configure` or `aws configure sso`.'
      : `There are: ${names.join(', ')}.`,
  );
}
