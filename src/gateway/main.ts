import { ControlFailure, carryControl, listenControl, type ControlCall } from '../base/controlSocket.ts';
import { FdWriter } from '../base/fdWriter.ts';
import { GatewayRequest, paths, type Upstream } from '../protocol/control.ts';
import { listenBroker, type Responder } from './broker.ts';
import { demonstration } from './demonstration.ts';
import { fixedScript, scriptedModel } from './scriptedModel.ts';
import { anthropicUpstream } from './upstream.ts';

/** In the container's own /tmp, which nobody else sees. */
const controlSocket = '/tmp/sallyport-gateway.sock';

/** `gateway.js` is the main process beside a sandbox; `gateway.js control` carries one request to it. */
async function main(): Promise<void> {
  if (process.argv[2] === 'control') {
    await carryControl(controlSocket, process.stdin, process.stdout);
    process.exit(0);
  }
  const log = new FdWriter(1);
  const say = (entry: object): void => log.write(`${JSON.stringify(entry)}\n`);
  let configured = false;

  async function handle(call: ControlCall): Promise<{ ok: true }> {
    const parsed = GatewayRequest.safeParse(call.request);
    // Not the schema's message, which could quote a value.
    if (!parsed.success) throw new ControlFailure('invalid_input', 'The request is malformed.');
    if (configured) throw new ControlFailure('busy', 'This gateway has its task already.');
    configured = true;
    const { token, upstream } = parsed.data;
    try {
      await listenBroker(paths.modelSocket, token, responder(upstream), say);
    } catch (thrown) {
      configured = false;
      throw thrown;
    }
    return { ok: true };
  }

  const control = await listenControl(controlSocket, handle);
  // A defect in the answer to one request must not end the others. The text stays here: it could quote a request.
  process.on('uncaughtException', (error) => say({ t: Date.now(), error: error.name }));
  process.once('SIGTERM', () => {
    control.dispose();
    void log.drained().then(() => process.exit(0));
  });
}

function responder(upstream: Upstream): Responder {
  switch (upstream.kind) {
    case 'anthropic':
      return anthropicUpstream(upstream);
    case 'demonstration':
      return scriptedModel(demonstration);
    case 'scripted':
      return scriptedModel(fixedScript(upstream.turns));
  }
}

main().catch((thrown: unknown) => {
  process.stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exit(1);
});
