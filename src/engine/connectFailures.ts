import { SallyportError } from '../base/errors.ts';
import type { Candidate } from './discovery.ts';
import { codeOf, messageOf } from './failures.ts';

/** Each way in which an engine can be absent, silent, forbidden or unfit, with its mend. */

export function absent(platform: NodeJS.Platform): SallyportError {
  const mend =
    platform === 'darwin'
      ? 'Install Docker Desktop, OrbStack, Colima or Podman Desktop, and start it.'
      : platform === 'win32'
        ? 'Install Docker Desktop (with WSL 2) or Podman Desktop, and start it.'
        : 'Install Docker or Podman; on Debian and Ubuntu: sudo apt-get install docker.io iptables';
  return new SallyportError('engine_absent', 'No container engine is installed.', mend);
}

export function notRunning(
  name: string,
  platform: NodeJS.Platform,
  message = `${name} is installed but does not run.`,
  cause?: unknown,
): SallyportError {
  const mend =
    platform !== 'linux'
      ? `Start ${name} Desktop, or whatever runs ${name} here.`
      : name === 'Podman'
        ? 'Start its socket: systemctl --user enable --now podman.socket'
        : 'Start it: sudo systemctl start docker';
  return new SallyportError('engine_not_running', message, mend, { cause });
}

export function unsupported(
  message: string,
  mend = 'Use Docker 19.03 or newer, or Podman 4 or newer.',
): SallyportError {
  return new SallyportError('engine_unsupported', message, mend);
}

/** Says why a place gave no engine. */
export function failureOf(thrown: unknown, candidate: Candidate, platform: NodeJS.Platform): SallyportError {
  if (thrown instanceof SallyportError) return thrown;
  const { address, source } = candidate;
  const from = source === address ? '' : ` (${source})`;
  const name = /podman/.test(address) ? 'Podman' : 'Docker';
  const code = codeOf(thrown);
  if (code === 'EACCES' || code === 'EPERM') {
    return new SallyportError(
      'engine_forbidden',
      `You may not open the engine's socket ${address}${from}.`,
      name === 'Podman'
        ? 'Start a socket of your own: systemctl --user enable --now podman.socket'
        : 'Join its group with: sudo usermod -aG docker "$USER", then log out and in again; or use rootless Docker or Podman.',
      { cause: thrown },
    );
  }
  const local = candidate.endpoint.type === 'socket';
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    const what =
      code === 'ENOENT'
        ? `There is no engine at ${address}${from}.`
        : `Nothing answers at ${address}${from}.`;
    if (local) return notRunning(name, platform, what, thrown);
  }
  if (local && (code === 'ENOTSOCK' || code?.startsWith('HPE_') === true)) {
    return unsupported(`What answers at ${address}${from} is not a container engine.`);
  }
  if (code?.startsWith('HPE_') === true)
    return unsupported(`What answers at ${address}${from} is not a container engine.`);
  return new SallyportError(
    'engine_not_running',
    `No container engine answers at ${address}${from}: ${messageOf(thrown)}`,
    'Start the engine, or correct the address.',
    { cause: thrown },
  );
}
