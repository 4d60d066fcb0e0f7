import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDocker, ensurePodmanService, startPrivateDocker } from '../../scripts/lib/engine.mjs';
import type { Engine } from '../../src/engine/engine.ts';
import { connectEngine } from '../../src/engine/connect.ts';

/** The engines that the contract suites run on, for real. A machine that cannot give one fails the suite. */
export const engineKinds = ['docker', 'podman'] as const;
export type EngineKind = (typeof engineKinds)[number];

/** Labels of everything that the suites make, so that it is found and removed; each process has its own beside others. */
export const testLabels = { 'sallyport.test': 'yes', 'sallyport.test.process': String(process.pid) };

/** A small image with a shell and perl's core: the base that the sandbox image stands on. */
export const smallImage = 'debian:trixie-slim';

let found: Promise<Record<EngineKind, string>> | undefined;

/** The addresses of running engines; installs and starts them where needed. */
export function engines(): Promise<Record<EngineKind, string>> {
  found ??= (async () => {
    const log = (line: string): void => console.log(`      ${line}`);
    const docker = await ensureDocker({ log, onlyDocker: true });
    const podman = await ensurePodmanService({ log });
    return { docker: docker.address, podman: podman.address };
  })();
  return found;
}

/** A client of a running engine of that kind. */
export async function realEngine(kind: EngineKind): Promise<Engine> {
  return connectEngine({ setting: (await engines())[kind] });
}

/**
 * An engine that a test may end: `kill` ends it at once. Its containers and files are gone after `dispose`. `args` are
 * further options of dockerd.
 */
export async function privateEngine(
  kind: EngineKind,
  options: { folder?: string; args?: string[] } = {},
): Promise<{ engine: Engine; kill: () => void; dispose: () => Promise<void> }> {
  const { folder = await mkdtemp(join(tmpdir(), 'sallyport-engine-')), args = [] } = options;
  const start = () =>
    kind === 'docker' ? startPrivateDocker({ folder, args }) : ensurePodmanService({ folder });
  const end = async (pid: number | undefined, signal: NodeJS.Signals): Promise<void> => {
    if (pid === undefined) throw new Error('The private engine was not started here');
    process.kill(pid, signal);
    while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 50));
  };
  const first = await start();
  const engine = await connectEngine({ setting: first.address });
  let killed = false;
  return {
    engine,
    kill: () => {
      killed = true;
      void end(first.pid, 'SIGKILL');
    },
    dispose: async () => {
      engine.dispose();
      if (!killed) await end(first.pid, 'SIGKILL');
      // What it left behind is found and removed by its successor.
      const second = await start();
      const successor = await connectEngine({ setting: second.address });
      await cleanUp(successor);
      successor.dispose();
      await end(second.pid, 'SIGTERM');
      // A dockerd that was killed leaves its folder mounted on itself.
      spawnSync('umount', ['--lazy', join(folder, 'data')]);
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

/** Removes what the suites made on an engine. */
export async function cleanUp(engine: Engine): Promise<void> {
  for (const { id } of await engine.list(testLabels)) await engine.remove(id);
  for (const { name } of await engine.listVolumes(testLabels)) await engine.removeVolume(name);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
