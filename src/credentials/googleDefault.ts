import { join } from 'node:path';
import * as z from 'zod/mini';
import { printable } from './claudeConfig.ts';
import { tilde } from './loginStore.ts';
import { parseJson, readPrivate } from './privateFile.ts';
import { nonEmpty, type Surroundings } from './surroundings.ts';

const named = {
  account: z.optional(z.string()),
  project_id: z.optional(z.string()),
  quota_project_id: z.optional(z.string()),
};

/** As `gcloud auth application-default login` and the console write it. */
const GoogleFile = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('authorized_user'),
    client_id: z.string(),
    client_secret: z.string(),
    refresh_token: z.string(),
    ...named,
  }),
  z.object({
    type: z.literal('service_account'),
    client_email: z.string(),
    private_key: z.string(),
    private_key_id: z.optional(z.string()),
    ...named,
  }),
]);
/** Holds a refresh token or a private key. */
export type GoogleFile = z.infer<typeof GoogleFile>;

const Other = z.looseObject({
  type: z.enum(['external_account', 'impersonated_service_account', 'gdch_service_account']),
});

export interface GoogleDefault {
  /** For people. */
  place: string;
  file?: GoogleFile;
  account?: string;
  project?: string;
  /** Why it cannot be used. */
  problem?: string;
}

/**
 * Google's Application Default Credentials: the file that GOOGLE_APPLICATION_CREDENTIALS names, else the one that
 * `gcloud auth application-default login` writes. Undefined when there is none. Never throws.
 */
export async function readGoogleDefault(around: Surroundings): Promise<GoogleDefault | undefined> {
  const { env, home, platform } = around;
  const explicit = nonEmpty(env['GOOGLE_APPLICATION_CREDENTIALS']);
  const configured = nonEmpty(env['CLOUDSDK_CONFIG']);
  const usual =
    platform === 'win32'
      ? join(env['APPDATA'] ?? join(home, 'AppData', 'Roaming'), 'gcloud')
      : join(home, '.config', 'gcloud');
  const path = explicit ?? join(configured ?? usual, 'application_default_credentials.json');
  const place = tilde(path, home);
  const read = await readPrivate(path);
  if ('absent' in read) {
    return explicit === undefined
      ? undefined
      : { place, problem: 'GOOGLE_APPLICATION_CREDENTIALS names it, and it is not there' };
  }
  if ('unreadable' in read) return { place, problem: read.unreadable };
  const json = parseJson(read.text);
  const file = GoogleFile.safeParse(json);
  if (!file.success) {
    const other = Other.safeParse(json);
    return {
      place,
      problem: other.success
        ? `credentials of the type ${other.data.type} are not used`
        : 'it is no credentials file of Google',
    };
  }
  const { data } = file;
  const who = nonEmpty(printable((data.type === 'service_account' ? data.client_email : data.account) ?? ''));
  const project = nonEmpty(data.quota_project_id ?? data.project_id);
  return {
    place,
    file: data,
    ...(who === undefined ? {} : { account: who }),
    ...(project === undefined ? {} : { project }),
  };
}
