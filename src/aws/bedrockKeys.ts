import { randomBytes } from 'node:crypto';
import * as https from 'node:https';
import {
  AssumeRoleCommand,
  AssumeRoleWithWebIdentityCommand,
  type Credentials,
  GetCallerIdentityCommand,
  GetFederationTokenCommand,
  GetSessionTokenCommand,
  STSClient,
} from '@aws-sdk/client-sts';
import { fromIni, fromNodeProviderChain } from '@aws-sdk/credential-providers';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { SallyportError } from '../base/errors.ts';
import type { AwsProfile, AwsProfileKind } from '../credentials/awsProfiles.ts';
import type { BedrockWishes } from '../credentials/bedrockNames.ts';
import type { Environment } from '../credentials/discover.ts';
import { proxyFor } from '../credentials/proxy.ts';
import { trusted } from '../credentials/reach.ts';
import { nonEmpty } from '../credentials/surroundings.ts';
import { type Attempt, stsFailure } from './stsFailures.ts';

/** Life of temporary credentials where nobody says otherwise, in seconds: what every role allows, chained ones too. */
const usualSeconds = 3600;

export interface BedrockKeys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** Milliseconds since the epoch; undefined where nobody knows. */
  expiresAt?: number;
}

export interface BedrockKeyRequest extends BedrockWishes {
  /** Undefined: what the environment, the container or the instance offers. */
  profile?: AwsProfile;
  /** How the profile, or the one that it builds on, gets its first credentials. */
  rootKind?: AwsProfileKind;
  files: { config: string; credentials: string };
  region: string;
  env: Environment;
  /** Certificates (PEM) that are trusted on top of the public ones. */
  authorities: readonly string[];
  askMfaCode?: (serial: string) => Promise<string | undefined>;
  signal?: AbortSignal;
}

interface Source {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  expiration?: Date;
}

/**
 * Temporary AWS credentials, so that a long-lived key never goes to a gateway.
 *
 * - A role, of the profile or of the settings: AssumeRole, with the session policy if there is one.
 * - A user's keys without a role: GetSessionToken; with a session policy GetFederationToken, because only that takes
 *   one. Both give credentials that IAM does not take for most of its own calls; Bedrock does.
 * - What is temporary already, as of single sign-on, is passed on; a session policy has no hold on it.
 *
 * @throws SallyportError auth_expired, auth_refused, invalid_credential, cloud_misconfigured, capacity_reached,
 * model_unreachable
 */
export async function temporaryKeys(request: BedrockKeyRequest): Promise<BedrockKeys> {
  const { profile, rootKind, roleArn, region, env, signal } = request;
  const client = (credentials?: Source): STSClient => stsClient(request, credentials);
  const send = { ...(signal && { abortSignal: signal }) };
  const attempt: Attempt = {
    source: profile === undefined ? 'the environment' : `the profile ${profile.name}`,
    ...(profile === undefined ? {} : { profile: profile.name }),
    ...(rootKind === undefined ? {} : { kind: rootKind }),
    host: stsHost(region, env),
  };
  /** The role of the last step, which gets the wishes; those on the way to it get what every role allows. */
  const last = roleArn ?? profile?.roleArn;

  async function assume(source: Source, role: Role): Promise<Source> {
    const final = role.RoleArn === last;
    const duration = final ? (request.sessionSeconds ?? role.DurationSeconds ?? usualSeconds) : usualSeconds;
    attempt.roleArn = role.RoleArn;
    attempt.sessionSeconds = duration;
    const command = new AssumeRoleCommand({
      ...role,
      RoleSessionName: sessionName(role.RoleSessionName),
      DurationSeconds: duration,
      ...(final && request.sessionPolicy !== undefined ? { Policy: request.sessionPolicy } : {}),
    });
    return sourceOf((await client(source).send(command, send)).Credentials, attempt);
  }

  try {
    const first =
      profile === undefined
        ? await environmentKeys(request)
        : await profileKeys(request, profile, assume, attempt);
    if (roleArn !== undefined) return keysOf(await assume(first, { RoleArn: roleArn }));
    const { sessionPolicy } = request;
    if (first.sessionToken !== undefined && first.sessionToken !== '') {
      if (sessionPolicy !== undefined && profile?.roleArn === undefined) {
        throw new SallyportError(
          'cloud_misconfigured',
          `A session policy has no hold on the credentials of ${attempt.source}: they are temporary already.`,
          'Name a role to take on with them (sallyport.bedrock.roleArn), or remove the session policy.',
        );
      }
      return keysOf(first);
    }
    const DurationSeconds = request.sessionSeconds ?? usualSeconds;
    delete attempt.roleArn;
    attempt.sessionSeconds = DurationSeconds;
    const answer =
      sessionPolicy === undefined
        ? await client(first).send(new GetSessionTokenCommand({ DurationSeconds }), send)
        : await client(first).send(
            new GetFederationTokenCommand({ Name: 'sallyport', DurationSeconds, Policy: sessionPolicy }),
            send,
          );
    return keysOf(sourceOf(answer.Credentials, attempt));
  } catch (thrown) {
    throw stsFailure(thrown, attempt);
  }
}

/** A role as the SDK asks for it, with the session's name and life as the profile has them. */
interface Role {
  RoleArn: string;
  RoleSessionName?: string;
  ExternalId?: string | undefined;
  SerialNumber?: string | undefined;
  TokenCode?: string | undefined;
  DurationSeconds?: number | undefined;
}

type Assume = (source: Source, role: Role) => Promise<Source>;

async function profileKeys(
  request: BedrockKeyRequest,
  profile: AwsProfile,
  assume: Assume,
  attempt: Attempt,
): Promise<Source> {
  const { files, region, env, authorities, askMfaCode, signal } = request;
  const provider = fromIni({
    profile: profile.name,
    filepath: files.credentials,
    configFilepath: files.config,
    ignoreCache: true,
    mfaCodeProvider: async (serial) => {
      const code = (await askMfaCode?.(serial))?.trim();
      if (code === undefined || !/^\d{6}$/.test(code)) {
        throw new SallyportError(
          askMfaCode === undefined ? 'cloud_misconfigured' : 'invalid_credential',
          askMfaCode === undefined
            ? `The profile ${profile.name} asks for an MFA code, and nobody can be asked for one here.`
            : `The profile ${profile.name} asks for an MFA code of six digits, and there was none.`,
          'Enter the code that the device shows, or keep temporary credentials in a profile: `aws sts get-session-token --serial-number … --token-code …`.',
        );
      }
      return code;
    },
    roleAssumer: assume,
    roleAssumerWithWebIdentity: async ({ RoleArn, WebIdentityToken, RoleSessionName }) => {
      const last = RoleArn === profile.roleArn && request.roleArn === undefined;
      const command = new AssumeRoleWithWebIdentityCommand({
        RoleArn,
        WebIdentityToken,
        RoleSessionName: sessionName(RoleSessionName),
        DurationSeconds: last ? (request.sessionSeconds ?? usualSeconds) : usualSeconds,
        ...(last && request.sessionPolicy !== undefined ? { Policy: request.sessionPolicy } : {}),
      });
      const options = { ...(signal && { abortSignal: signal }) };
      return sourceOf((await stsClient(request).send(command, options)).Credentials, attempt);
    },
    clientConfig: {
      region,
      requestHandler: requestHandler(`https://sts.${region}.amazonaws.com`, env, authorities),
    },
  });
  return await provider();
}

async function environmentKeys({ env, files, region, authorities }: BedrockKeyRequest): Promise<Source> {
  const accessKeyId = nonEmpty(env['AWS_ACCESS_KEY_ID']);
  const secretAccessKey = nonEmpty(env['AWS_SECRET_ACCESS_KEY']);
  const sessionToken = nonEmpty(env['AWS_SESSION_TOKEN']);
  if (accessKeyId !== undefined && secretAccessKey !== undefined) {
    return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
  }
  const provider = fromNodeProviderChain({
    filepath: files.credentials,
    configFilepath: files.config,
    ignoreCache: true,
    maxRetries: 1,
    timeout: 2000,
    clientConfig: {
      region,
      requestHandler: requestHandler(`https://sts.${region}.amazonaws.com`, env, authorities),
    },
  });
  return await provider();
}

/**
 * Whose credentials these are: an ARN. Needs no permission, and costs nothing.
 * @throws SallyportError auth_expired, auth_refused, model_unreachable
 */
export async function callerIdentity(
  keys: BedrockKeys,
  { source, signal, ...way }: Way & { source: string; signal?: AbortSignal },
): Promise<string> {
  try {
    const answer = await stsClient(way, keys).send(new GetCallerIdentityCommand({}), {
      ...(signal && { abortSignal: signal }),
    });
    return answer.Arn ?? '';
  } catch (thrown) {
    throw stsFailure(thrown, { source, host: stsHost(way.region, way.env) });
  }
}

/** How AWS is reached. */
interface Way {
  region: string;
  env: Environment;
  authorities: readonly string[];
}

function stsEndpoint(env: Environment): string | undefined {
  return nonEmpty(env['AWS_ENDPOINT_URL_STS']) ?? nonEmpty(env['AWS_ENDPOINT_URL']);
}

function stsHost(region: string, env: Environment): string {
  const endpoint = stsEndpoint(env);
  return (endpoint === undefined ? undefined : URL.parse(endpoint)?.host) ?? `sts.${region}.amazonaws.com`;
}

function stsClient({ region, env, authorities }: Way, credentials?: Source): STSClient {
  const endpoint = stsEndpoint(env);
  const dns = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  return new STSClient({
    region,
    maxAttempts: 3,
    requestHandler: requestHandler(endpoint ?? `https://sts.${region}.${dns}`, env, authorities),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: credentials.secretAccessKey,
            ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken }),
          },
        }),
  });
}

/** Times in milliseconds. */
function requestHandler(endpoint: string, env: Environment, authorities: readonly string[]): object {
  const url = URL.parse(endpoint);
  const proxy = url === null ? undefined : proxyFor(url, env);
  return {
    connectionTimeout: 5000,
    requestTimeout: 15_000,
    httpsAgent:
      proxy === undefined
        ? new https.Agent({ keepAlive: true, ...trusted(authorities) })
        : new HttpsProxyAgent(proxy, trusted(authorities)),
  };
}

/** Readable in the account's audit log. One that the profile names stays. */
function sessionName(given: string | undefined): string {
  return given === undefined || given.startsWith('aws-sdk-js-')
    ? `sallyport-${randomBytes(4).toString('hex')}`
    : given;
}

function sourceOf(credentials: Credentials | undefined, { host }: Attempt): Source {
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = credentials ?? {};
  if (AccessKeyId === undefined || SecretAccessKey === undefined || SessionToken === undefined) {
    throw new SallyportError(
      'model_unreachable',
      `Something else answers in the place of ${host}.`,
      'Check AWS_ENDPOINT_URL and the proxy (HTTPS_PROXY).',
    );
  }
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
    ...(Expiration === undefined ? {} : { expiration: Expiration }),
  };
}

function keysOf({ accessKeyId, secretAccessKey, sessionToken, expiration }: Source): BedrockKeys {
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
    ...(expiration === undefined ? {} : { expiresAt: expiration.getTime() }),
  };
}
