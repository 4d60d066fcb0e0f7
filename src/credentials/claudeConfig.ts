import { join } from 'node:path';
import * as z from 'zod/mini';
import { checkCredential, type Credential } from './credential.ts';
import { tilde } from './loginStore.ts';
import { parseJson, readPrivate } from './privateFile.ts';
import { nonEmpty, type Surroundings } from './surroundings.ts';

const Config = z.looseObject({
  primaryApiKey: z.optional(z.unknown()),
  oauthAccount: z.optional(z.unknown()),
});

const Account = z.looseObject({
  emailAddress: z.optional(z.string()),
  organizationName: z.optional(z.nullable(z.string())),
});

export interface ClaudeConfig {
  /** For people. */
  place: string;
  /** The API key that `claude` made for an account of the console. */
  key?: { credential: Credential } | { problem: string };
  /** Who is logged in, for people: an address and an organisation. */
  account?: string;
  /** Why nothing of it could be read. */
  problem?: string;
}

/** What the Claude CLI's `.claude.json` tells. Never throws. */
export async function readClaudeConfig(around: Surroundings): Promise<ClaudeConfig | undefined> {
  const folder = nonEmpty(around.env['CLAUDE_CONFIG_DIR']) ?? around.home;
  const path = join(folder, '.claude.json');
  const place = tilde(path, around.home);
  const read = await readPrivate(path);
  if ('absent' in read) return undefined;
  if ('unreadable' in read) return { place, problem: read.unreadable };
  const config = Config.safeParse(parseJson(read.text));
  if (!config.success) return { place, problem: 'it is no JSON object' };
  const { primaryApiKey, oauthAccount } = config.data;
  const who = Account.safeParse(oauthAccount);
  const account = who.success ? named(who.data) : undefined;
  return {
    place,
    ...(primaryApiKey == null ? {} : { key: keyOf(primaryApiKey, place) }),
    ...(account === undefined ? {} : { account }),
  };
}

function keyOf(value: unknown, place: string): NonNullable<ClaudeConfig['key']> {
  if (typeof value !== 'string') return { problem: 'its primaryApiKey is no text.' };
  try {
    return { credential: checkCredential({ kind: 'api_key', value }, place) };
  } catch (thrown) {
    return { problem: thrown instanceof Error ? thrown.message : 'its primaryApiKey cannot be right.' };
  }
}

function named({ emailAddress, organizationName }: z.infer<typeof Account>): string | undefined {
  const parts = [emailAddress, organizationName].map((text) => nonEmpty(printable(text ?? '')));
  const [address, organization] = parts;
  return address !== undefined && organization !== undefined
    ? `${address}, ${organization}`
    : (address ?? organization);
}

/** A name from a file, for people: one line, nothing but visible characters, not long. */
export function printable(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '').slice(0, 120);
}
