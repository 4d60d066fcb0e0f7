import { setFlagsFromString } from 'node:v8';
import { ControlFailure, carryControl, listenControl, type ControlCall } from '../base/controlSocket.ts';
import { FdWriter } from '../base/fdWriter.ts';
import { GatewayRequest, paths } from '../protocol/control.ts';
import { Broker } from './broker.ts';
import { EgressProxy } from './egressProxy.ts';
import { GatewayLog } from './eventLog.ts';

// A gateway's container has 256 MiB, of which V8 is to use no more than this before it collects.
setFlagsFromString('--max-old-space-size=190');

/** In the container's own /tmp, which nobody else sees. */
const controlSocket = '/tmp/sallyport-gateway.sock';

/** `gateway.js` is the main process beside a sandbox; `gateway.js control` carries one request to it. */
async function main(): Promise<void> {
  if (process.argv[2] === 'control') {
    await carryControl(controlSocket, process.stdin, process.stdout);
    process.exit(0);
  }
  const out = new FdWriter(1);
  const log = new GatewayLog(out);
  let servers: Promise<{ broker: Broker; proxy: EgressProxy }> | undefined;

  async function handle(call: ControlCall): Promise<{ ok: true }> {
    const parsed = GatewayRequest.safeParse(call.request);
    // Not the schema's message, which could quote a value.
    if (!parsed.success) throw new ControlFailure('invalid_input', 'The request is malformed.');
    const request = parsed.data;
    if (request.op === 'configure') {
      if (servers !== undefined) throw new ControlFailure('busy', 'This gateway has its task already.');
      log.continueAfter(request.after);
      servers = listen(request);
      servers.catch(() => (servers = undefined));
      await servers;
      return { ok: true };
    }
    if (servers === undefined) throw new ControlFailure('busy', 'This gateway has no task yet.');
    const { broker, proxy } = await servers;
    if (request.op === 'egress') proxy.setPolicy(request.egress, request.refused);
    else if (request.op === 'allowance') broker.setAllowance(request.allowanceUsd);
    else broker.setUpstream(request.upstream);
    return { ok: true };
  }

  async function listen(
    request: Extract<GatewayRequest, { op: 'configure' }>,
  ): Promise<{ broker: Broker; proxy: EgressProxy }> {
    const proxy = await EgressProxy.listen(paths.proxySocket, { ...request, policy: request.egress, log });
    const broker = await Broker.listen(paths.modelSocket, { ...request, log });
    return { broker, proxy };
  }

  /** What is under way gets its end in the log, too. */
  async function end(): Promise<void> {
    const started = await servers?.catch(() => undefined);
    started?.proxy.dispose();
    started?.broker.dispose();
    await out.drained();
  }

  const control = await listenControl(controlSocket, handle);
  // A defect in the answer to one request must not end the others. The text stays here: it could quote a request.
  process.on('uncaughtException', (error) =>
    log.say({ type: 'gateway_notice', level: 'error', text: `The gateway met an unexpected ${error.name}.` }),
  );
  process.once('SIGTERM', () => {
    control.dispose();
    void end().then(() => process.exit(0));
  });
}

main().catch((thrown: unknown) => {
  process.stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exit(1);
});
