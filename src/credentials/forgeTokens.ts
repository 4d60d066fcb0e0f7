import { isHostName } from '../protocol/egress.ts';
import type { Environment } from './discover.ts';
import { nonEmpty, type Surroundings } from './surroundings.ts';

/** A token for a forge that was found on this machine. */
export interface FoundForgeToken {
  id: 'env' | 'gh';
  /** For people, without the token: "GH_TOKEN of the environment". */
  label: string;
  token: string;
}

const programMs = 5000;

/**
 * Tokens for a host at which GitHub or an Enterprise server of it is: of the environment, and of the gh command. Each is one
 * that its owner has made for that very host. Never throws.
 * @param host what a token belongs to, such as `github.com`
 */
export async function githubTokens(
  host: string,
  around: Pick<Surroundings, 'env' | 'exec'>,
): Promise<FoundForgeToken[]> {
  const { env, exec } = around;
  const found: FoundForgeToken[] = [];
  for (const name of variablesFor(host, env)) {
    const token = nonEmpty(env[name]);
    if (token === undefined || !isToken(token)) continue;
    found.push({ id: 'env', label: `${name} of the environment`, token });
    break;
  }
  if (!isHostName(host)) return found;
  try {
    const { code, stdout } = await exec('gh', ['auth', 'token', '--hostname', host], {
      env: withoutTokens(env),
      timeoutMs: programMs,
    });
    const token = nonEmpty(stdout);
    if (code === 0 && token !== undefined && isToken(token))
      found.push({ id: 'gh', label: 'The login of the gh command', token });
  } catch {
    // It is not installed, or does not answer.
  }
  return found;
}

/** As the gh command has them: those of github.com are for no other host. */
function variablesFor(host: string, env: Environment): string[] {
  if (host === 'github.com') return ['GH_TOKEN', 'GITHUB_TOKEN'];
  return nonEmpty(env.GH_HOST) === host ? ['GH_ENTERPRISE_TOKEN', 'GITHUB_ENTERPRISE_TOKEN'] : [];
}

/** What gh would otherwise answer with, whatever host is meant. */
function withoutTokens(env: Environment): Environment {
  const tokens = ['GH_TOKEN', 'GITHUB_TOKEN', 'GH_ENTERPRISE_TOKEN', 'GITHUB_ENTERPRISE_TOKEN'];
  return Object.fromEntries(Object.entries(env).filter(([name]) => !tokens.includes(name)));
}

/** True for what fits into a header. */
export function isToken(text: string): boolean {
  return /^[\x21-\x7e]{8,4000}$/.test(text);
}
