import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a task must not change in the user's repository, as digests, so that a difference says where it is. */
export interface Fingerprint {
  tree: Record<string, string>;
  head: string;
  index: string;
  config: string;
  hooks: Record<string, string>;
  refs: string[];
}

export async function fingerprint(repository: string): Promise<Fingerprint> {
  const git = join(repository, '.git');
  const { stdout } = await run('git', ['for-each-ref', '--format=%(refname) %(objectname)'], {
    cwd: repository,
  });
  return {
    tree: digests(repository, (path) => path !== '.git'),
    head: readFileSync(join(git, 'HEAD'), 'utf8'),
    index: digest(join(git, 'index')),
    config: readFileSync(join(git, 'config'), 'utf8'),
    hooks: digests(join(git, 'hooks'), () => true),
    refs: stdout.trim().split('\n'),
  };
}

function digests(folder: string, wanted: (path: string) => boolean): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(folder).filter(wanted).sort()) {
    const path = join(folder, name);
    if (lstatSync(path).isDirectory()) {
      for (const [inner, value] of Object.entries(digests(path, () => true)))
        found[`${name}/${inner}`] = value;
    } else found[name] = digest(path);
  }
  return found;
}

function digest(path: string): string {
  const stat = lstatSync(path);
  const content = stat.isSymbolicLink() ? readlinkSync(path) : readFileSync(path);
  return `${stat.mode.toString(8)} ${createHash('sha256').update(content).digest('hex')}`;
}

/** Names of containers, volumes and networks of the Docker engine that have something to do with `text`. */
export async function tracesInEngine(text: string): Promise<string[]> {
  const lists = await Promise.all([ask('/containers/json?all=1'), ask('/volumes'), ask('/networks')]);
  const things = lists.flatMap((list) =>
    Array.isArray(list) ? (list as unknown[]) : ((list as { Volumes?: unknown[] | null }).Volumes ?? []),
  );
  return things.map((thing) => JSON.stringify(thing)).filter((thing) => thing.includes(text));
}

/** Straight from the engine's socket, so that the product's own code does not judge itself. */
function ask(path: string): Promise<unknown> {
  const address =
    process.env['SALLYPORT_TEST_DOCKER'] ?? process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  const socketPath = address.replace(/^unix:\/\//, '');
  return new Promise((done, refuse) => {
    const asking = request({ socketPath, path }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part: string) => (text += part));
      answer.on('end', () => done(JSON.parse(text)));
    });
    asking.on('error', refuse);
    asking.end();
  });
}

/** The events of the only task, or of the newest, in a data folder; none while there is no task. */
export function eventsOnDisk(data: string): { id: string; events: Record<string, unknown>[] } | undefined {
  const tasks = join(data, 'tasks');
  const id = list(tasks).sort().at(-1);
  if (id === undefined) return undefined;
  const lines = read(join(tasks, id, 'events.ndjson'))
    .split('\n')
    .slice(0, -1);
  return { id, events: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Removes what a task has on the engine, whatever is left of it. */
export async function removeFromEngine(id: string): Promise<void> {
  const containers = [`sallyport-${id}`, `sallyport-${id}-gateway`];
  await run('docker', ['rm', '--force', '--volumes', ...containers]).catch(() => undefined);
  await run('docker', ['volume', 'rm', '--force', `sallyport-${id}`]).catch(() => undefined);
}
