import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';

/** The loaders of the GNU C library, which the agent is made for. */
const loaders = ['/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1'];
/** What the workspace and the agent cannot do without. */
const needed = ['git', 'bash'];

/** Names that are the supervisor's, the agent's or git's own to set, and those that bend any program. */
const withheld =
  /^(?:ANTHROPIC_.*|CLAUDE.*|AWS_.*|GOOGLE_.*|CLOUD_ML_.*|VERTEX_.*|BEDROCK_.*|GIT_.*|SALLYPORT_.*|LD_.*|GLIBC_TUNABLES|NODE_OPTIONS|NODE_PATH|NODE_EXTRA_CA_CERTS|BASH_ENV|ENV|HOSTNAME|PWD|OLDPWD|SHLVL|_)$/i;

/** Why the agent cannot work in this image of the user's, and what to put into it; undefined when it can. */
export async function problemWithOwnImage(
  path: string,
  loaderPaths: readonly string[] = loaders,
): Promise<{ message: string; mend: string } | undefined> {
  const folders = path.split(':').filter((folder) => folder !== '');
  const missing: string[] = [];
  for (const name of needed)
    if (
      !(await anyOf(
        folders.map((folder) => join(folder, name)),
        constants.X_OK,
      ))
    )
      missing.push(name);
  if (missing.length > 0)
    return {
      message: `The image has no ${missing.join(' and no ')}, which the agent needs.`,
      mend: `Put it into the image, on Debian and Ubuntu with: RUN apt-get update && apt-get install -y ${missing.join(' ')}`,
    };
  if (!(await anyOf(loaderPaths, constants.F_OK)))
    return {
      message: 'The image has no GNU C library (it may be Alpine, with musl), for which the agent is made.',
      mend: 'Take an image that is based on Debian, Ubuntu, Fedora or another distribution with glibc.',
    };
  return undefined;
}

/** What the agent gets of the image's own environment, below all that is set for it. */
export function imageEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = Object.entries(env).filter(([name]) => !withheld.test(name));
  return Object.fromEntries(kept.filter((pair): pair is [string, string] => pair[1] !== undefined));
}

async function anyOf(paths: readonly string[], mode: number): Promise<boolean> {
  for (const path of paths) {
    try {
      await access(path, mode);
      return true;
    } catch {
      // The next one.
    }
  }
  return false;
}
