import type { EngineInfo } from './engine.ts';
import type { Info } from './schemas.ts';

type Abilities = Pick<
  EngineInfo,
  | 'rootless'
  | 'seccomp'
  | 'cgroupVersion'
  | 'ignoredLimits'
  | 'runtimes'
  | 'storageDriver'
  | 'backingFilesystem'
>;

/** What an engine can hold of a container's walls, from what it says about itself. */
export function abilities(info: Info, podman: boolean): Abilities {
  const options = info.SecurityOptions ?? [];
  const rootless = info.Rootless ?? options.some((option) => option.includes('name=rootless'));
  const backing = info.DriverStatus?.find(([name]) => name === 'Backing Filesystem')?.[1];
  const old = info.CgroupVersion === '1';
  return {
    rootless,
    seccomp: options.some((option) => option.includes('name=seccomp')),
    ...(old
      ? { cgroupVersion: 1 as const }
      : info.CgroupVersion === '2'
        ? { cgroupVersion: 2 as const }
        : {}),
    // A normal user may not write to the older control groups, whatever the kernel could do.
    ignoredLimits: rootless && old ? ['memory', 'swap', 'processors', 'processes'] : unheld(info),
    // Podman names every runtime of its settings, installed or not, and runs all containers with one.
    runtimes: podman
      ? info.DefaultRuntime === undefined
        ? []
        : [info.DefaultRuntime]
      : Object.keys(info.Runtimes ?? {}).sort(),
    storageDriver: info.Driver ?? 'unknown',
    ...(backing === undefined ? {} : { backingFilesystem: backing }),
  };
}

/** The limits that an engine says it cannot set. What it does not mention counts as held. */
function unheld(info: Info): string[] {
  const held: [string, boolean | undefined][] = [
    ['memory', info.MemoryLimit],
    ['swap', info.SwapLimit],
    ['processors', info.CpuCfsQuota],
    ['processes', info.PidsLimit],
  ];
  return held.filter(([, can]) => can === false).map(([name]) => name);
}
