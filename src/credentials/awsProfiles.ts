import { createHash } from 'node:crypto';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { printable } from './claudeConfig.ts';
import { tilde } from './loginStore.ts';
import { parseJson, readPrivate } from './privateFile.ts';
import { nonEmpty, type Surroundings } from './surroundings.ts';

/** How a profile comes to credentials. */
export type AwsProfileKind =
  'role' | 'web-identity' | 'sso' | 'login' | 'process' | 'keys' | 'session' | 'none';

/** A profile of the AWS configuration; holds no key. */
export interface AwsProfile {
  name: string;
  kind: AwsProfileKind;
  roleArn?: string;
  sourceProfile?: string;
  /** Serial number or ARN of a device whose code is needed. */
  mfaSerial?: string;
  region?: string;
  sso?: { session?: string; startUrl?: string };
}

export interface AwsConfiguration {
  /** In the order of the files. */
  profiles: AwsProfile[];
  files: { config: string; credentials: string };
  /** Why a file could not be read, each a sentence. */
  problems: string[];
}

/** The files of the AWS tools: AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, else those in ~/.aws. */
export function awsFiles({ env, home }: Surroundings): AwsConfiguration['files'] {
  return {
    config: nonEmpty(env['AWS_CONFIG_FILE']) ?? join(home, '.aws', 'config'),
    credentials: nonEmpty(env['AWS_SHARED_CREDENTIALS_FILE']) ?? join(home, '.aws', 'credentials'),
  };
}

/** Reads both files. Never throws. */
export async function readAwsConfiguration(around: Surroundings): Promise<AwsConfiguration> {
  const files = awsFiles(around);
  const problems: string[] = [];
  const read = async (path: string): Promise<Sections> => {
    const found = await readPrivate(path);
    if ('absent' in found) return new Map();
    if ('text' in found) {
      const sections = parseIni(found.text);
      if (sections.size === 0 && found.text.trim() !== '')
        problems.push(`${tilde(path, around.home)} cannot be used: it holds no section.`);
      return sections;
    }
    problems.push(`${tilde(path, around.home)} cannot be used: ${found.unreadable}.`);
    return new Map();
  };
  const config = await read(files.config);
  const credentials = await read(files.credentials);
  const merged: Sections = new Map();
  for (const [section, values] of config) {
    const name =
      section === 'default' ? section : /^profile\s+(.+)$/.exec(section)?.[1]?.replaceAll(/^["']|["']$/g, '');
    if (name !== undefined) merged.set(name, values);
  }
  // As the AWS tools have it: where both name a value, that of the credentials file counts.
  for (const [name, values] of credentials)
    merged.set(name, new Map([...(merged.get(name) ?? []), ...values]));
  return {
    profiles: [...merged]
      .filter(([name]) => isName(name))
      .map(([name, values]) => profileOf(name, values, config)),
    files,
    problems,
  };
}

function isName(name: string): boolean {
  return name !== '' && name.length <= 128 && printable(name) === name;
}

function profileOf(name: string, values: Map<string, string>, config: Sections): AwsProfile {
  const session = values.get('sso_session');
  const shared = session === undefined ? undefined : config.get(`sso-session ${session}`);
  const startUrl = shared?.get('sso_start_url') ?? values.get('sso_start_url');
  const sso = session !== undefined || startUrl !== undefined;
  const kind: AwsProfileKind = values.has('web_identity_token_file')
    ? 'web-identity'
    : values.has('role_arn')
      ? 'role'
      : values.has('aws_access_key_id')
        ? values.has('aws_session_token')
          ? 'session'
          : 'keys'
        : sso
          ? 'sso'
          : values.has('credential_process')
            ? 'process'
            : values.has('login_session')
              ? 'login'
              : 'none';
  const take = (key: string): string | undefined => nonEmpty(printable(values.get(key) ?? ''));
  const [roleArn, sourceProfile, mfaSerial] = [take('role_arn'), take('source_profile'), take('mfa_serial')];
  const region = take('region');
  return {
    name,
    kind,
    ...(roleArn === undefined ? {} : { roleArn }),
    ...(sourceProfile === undefined ? {} : { sourceProfile }),
    ...(mfaSerial === undefined ? {} : { mfaSerial }),
    ...(region === undefined ? {} : { region }),
    ...(sso ? { sso: { ...(session && { session }), ...(startUrl && { startUrl }) } } : {}),
  };
}

/** What a profile does, for people. */
export function describeProfile(profile: AwsProfile): string {
  const { kind, roleArn, sourceProfile, mfaSerial, region, sso } = profile;
  const what: Record<AwsProfileKind, string> = {
    role: `role ${roleArn ?? ''}${sourceProfile === undefined ? '' : ` from profile ${sourceProfile}`}`,
    'web-identity': `role ${roleArn ?? ''} with a web identity`,
    sso: `single sign-on${sso?.session === undefined ? '' : `, session ${printable(sso.session)}`}`,
    login: 'login of `aws login`',
    process: 'an external program',
    keys: 'long-lived keys, exchanged for temporary ones',
    session: 'temporary keys',
    none: 'no credentials',
  };
  return [what[kind], mfaSerial === undefined ? undefined : 'asks for an MFA code', region]
    .filter((part) => part !== undefined)
    .join(', ');
}

const CachedToken = z.looseObject({ expiresAt: z.string(), refreshToken: z.optional(z.string()) });

/** Whether somebody is logged in for single sign-on: the AWS CLI keeps a token for each session. Never throws. */
export async function ssoState(profile: AwsProfile, around: Surroundings): Promise<'ready' | 'expired'> {
  const key = profile.sso?.session ?? profile.sso?.startUrl ?? '';
  const file = `${createHash('sha1').update(key).digest('hex')}.json`;
  const read = await readPrivate(join(around.home, '.aws', 'sso', 'cache', file));
  const token = CachedToken.safeParse('text' in read ? parseJson(read.text) : undefined);
  if (!token.success) return 'expired';
  const good = Date.parse(token.data.expiresAt) > around.now();
  return good || token.data.refreshToken !== undefined ? 'ready' : 'expired';
}

type Sections = Map<string, Map<string, string>>;

/** The dialect of the AWS tools, as far as it names values; indented sub-sections and lines that are none are passed over. */
function parseIni(text: string): Sections {
  const sections: Sections = new Map();
  let current: Map<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*[#;]/.test(line)) continue;
    const header = /^\s*\[\s*([^\]]+?)\s*\]/.exec(line)?.[1];
    if (header !== undefined) {
      current = sections.get(header) ?? new Map<string, string>();
      sections.set(header, current);
      continue;
    }
    const [, key, value] = /^([a-z_0-9]+)\s*=\s*(.*?)\s*$/i.exec(line) ?? [];
    if (key !== undefined && value !== undefined && value !== '')
      current?.set(key.toLowerCase(), value.replace(/\s[#;].*$/, ''));
  }
  return sections;
}
