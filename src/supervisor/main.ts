import { adapters } from '../agent/adapters.ts';
import { carryControl, listenControl } from '../base/controlSocket.ts';
import { version } from '../base/version.ts';
import { paths } from '../protocol/control.ts';
import { proveEgressClosed } from './egress.ts';
import { EventLog } from './eventLog.ts';
import { Supervisor } from './supervisor.ts';

/** In the container's own /tmp, which nobody else sees. */
const controlSocket = '/tmp/sallyport-supervisor.sock';
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** `supervisor.js` is the sandbox's main process; `supervisor.js control` carries one request to it. */
async function main(): Promise<void> {
  if (process.argv[2] === 'control') {
    await carryControl(controlSocket, process.stdin, process.stdout);
    process.exit(0);
  }
  const log = new EventLog(1);
  const supervisor = new Supervisor({
    log,
    version,
    workspace: paths.workspace,
    modelSocket: paths.modelSocket,
    proxySocket: paths.proxySocket,
    socketWaitMs: 15_000,
    home: process.env.HOME ?? '/home/agent',
    path: process.env.PATH ?? defaultPath,
    adapters,
    proveEgress: proveEgressClosed,
    environment: process.env,
  });
  // A defect must not take the log down with it.
  process.on('uncaughtException', (error) => {
    log.emit({
      type: 'notice',
      level: 'error',
      text: `The supervisor met an unexpected error: ${error.message}`,
    });
  });
  const control = await listenControl(controlSocket, (call) => supervisor.handle(call));
  process.once('SIGTERM', () => {
    control.dispose();
    supervisor.dispose();
    void log.flush().then(() => process.exit(0));
  });
}

main().catch((thrown: unknown) => {
  process.stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exit(1);
});
