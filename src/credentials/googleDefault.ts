import { join } from 'node:path';
import * as z from 'zod/mini';
import { printable } from './claudeConfig.ts';
import { tilde } from './loginStore.ts';
import { parseJson, readPrivate } from './privateFile.ts';
import { nonEmpty, type Surroundings } from './surroundings.ts';

const Default = z.looseObject({
  type: z.enum(['authorized_user', 'service_account', 'external_account', 'impersonated_service_account']),
  client_email: z.optional(z.string()),
  account: z.optional(z.string()),
  project_id: z.optional(z.string()),
  quota_project_id: z.optional(z.string()),
});

export interface GoogleDefault {
  /** For people. */
  place: string;
  /** The whole file, for the library that understands it; holds a key or a refresh token. */
  json?: Record<string, unknown>;
  type?: z.infer<typeof Default>['type'];
  account?: string;
  project?: string;
  problem?: string;
}

/**
 * Google's Application Default Credentials: the file that GOOGLE_APPLICATION_CREDENTIALS names, else the one that
 * `gcloud auth application-default login` writes. Undefined when there is none. Never throws.
 */
export async function readGoogleDefault(around: Surroundings): Promise<GoogleDefault | undefined> {
  const { env, home, platform } = around;
  const named = nonEmpty(env['GOOGLE_APPLICATION_CREDENTIALS']);
  const configured = nonEmpty(env['CLOUDSDK_CONFIG']);
  const usual =
    platform === 'win32'
      ? join(env['APPDATA'] ?? join(home, 'AppData', 'Roaming'), 'gcloud')
      : join(home, '.config', 'gcloud');
  const path = named ?? join(configured ?? usual, 'application_default_credentials.json');
  const place = tilde(path, home);
  const read = await readPrivate(path);
  if ('absent' in read) {
    return named === undefined
      ? undefined
      : { place, problem: 'GOOGLE_APPLICATION_CREDENTIALS names it, and it is not there' };
  }
  if ('unreadable' in read) return { place, problem: read.unreadable };
  const json = parseJson(read.text);
  const whole = z.record(z.string(), z.unknown()).safeParse(json);
  const known = Default.safeParse(json);
  if (!whole.success || !known.success) return { place, problem: 'it is no credentials file of Google' };
  const { type, client_email, account, project_id, quota_project_id } = known.data;
  const who = nonEmpty(printable(client_email ?? account ?? ''));
  const project = nonEmpty(quota_project_id ?? project_id);
  return {
    place,
    json: whole.data,
    type,
    ...(who === undefined ? {} : { account: who }),
    ...(project === undefined ? {} : { project }),
  };
}
