import { SallyportError } from '../base/errors.ts';
import type { EngineInfo } from './engine.ts';

/** Throws `invalid_input` for a runtime that the engine does not know or cannot be told to use. */
export function checkRuntime(info: Pick<EngineInfo, 'kind' | 'runtimes'>, runtime: string | undefined): void {
  if (runtime === undefined || info.runtimes.includes(runtime)) return;
  const known = info.runtimes.length === 0 ? 'none' : info.runtimes.join(', ');
  if (info.kind === 'podman') {
    throw new SallyportError(
      'invalid_input',
      `Podman runs every container of its service with ${known}; the runtime "${runtime}" of the settings cannot be chosen for one.`,
      `Start the service with that runtime (podman --runtime ${runtime} system service …), or clear the setting.`,
    );
  }
  throw new SallyportError(
    'invalid_input',
    `The container engine knows no runtime "${runtime}"; it knows ${known}.`,
    'Install it and name it in the engine’s settings (for Docker "runtimes" in /etc/docker/daemon.json), or change the setting.',
  );
}
