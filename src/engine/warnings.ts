import type { EngineInfo } from './engine.ts';

/** What an engine cannot hold of a sandbox's walls, as sentences for people, each with what to do about it. */
export function engineWarnings(info: EngineInfo): { text: string; mend: string }[] {
  const name = info.kind === 'docker' ? 'Docker' : 'Podman';
  const warnings = [];
  if (!info.seccomp) {
    warnings.push({
      text: `${name} has no seccomp here: an agent can use every system call of the kernel.`,
      mend: 'Use a kernel and an engine with seccomp, or a runtime that brings its own kernel, such as runsc.',
    });
  }
  if (info.ignoredLimits.length > 0) {
    const old = info.rootless && info.cgroupVersion === 1;
    warnings.push({
      text: `${name} does not hold these limits of a sandbox here: ${info.ignoredLimits.join(', ')}.`,
      mend: old
        ? 'A rootless engine needs control groups of version 2 (boot with systemd.unified_cgroup_hierarchy=1), or run the engine as root.'
        : 'Let the engine use the control groups it needs: for a rootless one delegate cpu, memory and pids to the user.',
    });
  }
  return warnings;
}
