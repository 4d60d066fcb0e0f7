import profile from '../../container/seccomp.json' with { type: 'json' };
import type { ContainerSpec } from './engine.ts';

/** What only debuggers need: reading and writing other processes. */
const debuggers = ['ptrace', 'process_vm_readv', 'process_vm_writev'];

/**
 * The seccomp profile of a container, as engines take it: an allow-list (container/seccomp.json, where it comes from is in
 * container/NOTICE). Everything else is refused with EPERM.
 */
export function seccompProfile(syscalls: ContainerSpec['syscalls'] = 'work'): string {
  if (syscalls === 'work') return JSON.stringify(profile);
  const rules = profile.syscalls
    .map((rule) => ({ ...rule, names: rule.names.filter((name) => !debuggers.includes(name)) }))
    .filter((rule) => rule.names.length > 0);
  return JSON.stringify({ ...profile, syscalls: rules });
}
