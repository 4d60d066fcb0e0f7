import { printable } from './claudeConfig.ts';
import type { CredentialSource } from './source.ts';
import { nonEmpty, type Surroundings } from './surroundings.ts';

const programMs = 5000;

/** What can prove to a forge who the user is. The tokens themselves are asked for and thrown away. Never throws. */
export async function forgeSources(around: Surroundings): Promise<CredentialSource[]> {
  const sources: CredentialSource[] = [];
  const variable = ['GH_TOKEN', 'GITHUB_TOKEN'].find((name) => nonEmpty(around.env[name]) !== undefined);
  if (variable !== undefined) {
    const good = /^[\x21-\x7e]{20,}$/.test(around.env[variable]?.trim() ?? '');
    sources.push({
      id: 'github:env',
      purpose: 'forge',
      label: `GitHub token from ${variable}`,
      state: good ? 'ready' : 'unusable',
      detail: good ? 'github.com' : 'It is too short or holds a character that no token has.',
      ...(good ? {} : { mend: `Set ${variable} anew, or remove it.` }),
    });
  }
  const token = await tryRun(withoutTokens(around), 'gh', ['auth', 'token', '--hostname', 'github.com']);
  if (token === undefined) return sources;
  const loggedIn = token.code === 0 && token.stdout.trim() !== '';
  // The configuration, because `gh auth status` asks GitHub.
  const user = loggedIn
    ? await tryRun(around, 'gh', ['config', 'get', '--host', 'github.com', 'user'])
    : undefined;
  const name = user?.code === 0 ? nonEmpty(printable(user.stdout.trim())) : undefined;
  sources.push({
    id: 'github:gh',
    purpose: 'forge',
    label: 'GitHub login of the gh command',
    state: loggedIn ? 'ready' : 'unusable',
    detail: loggedIn ? `github.com${name === undefined ? '' : `, account ${name}`}` : 'Nobody is logged in.',
    ...(loggedIn ? {} : { mend: 'Run `gh auth login`.' }),
  });
  return sources;
}

/** The name under which the user's own commits are made. Never throws. */
export async function identitySource(around: Surroundings): Promise<CredentialSource> {
  const get = async (key: string): Promise<string | undefined> => {
    const read = await tryRun(around, 'git', ['config', '--global', '--includes', '--get', key]);
    return read?.code === 0 ? nonEmpty(printable(read.stdout.trim())) : undefined;
  };
  const [name, email] = [await get('user.name'), await get('user.email')];
  const complete = name !== undefined && email !== undefined;
  return {
    id: 'identity',
    purpose: 'identity',
    label: 'Author from the git configuration',
    state: complete ? 'ready' : 'unusable',
    detail: complete ? `${name} <${email}>` : 'There is no user.name or no user.email.',
    ...(complete
      ? {}
      : { mend: 'Run `git config --global user.name "…"` and `git config --global user.email …`.' }),
  };
}

/** What the variables hold is a source of its own. */
function withoutTokens(around: Surroundings): Surroundings {
  const { GH_TOKEN: _gh, GITHUB_TOKEN: _github, ...env } = around.env;
  return { ...around, env };
}

async function tryRun(
  { exec, env }: Surroundings,
  file: string,
  args: string[],
): Promise<{ code: number; stdout: string } | undefined> {
  try {
    return await exec(file, args, { env, timeoutMs: programMs });
  } catch {
    return undefined;
  }
}
