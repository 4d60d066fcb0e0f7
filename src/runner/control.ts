import { SallyportError, type ErrorCode } from '../base/errors.ts';
import { decodeFrames, encodeData, encodeFrame } from '../base/frames.ts';
import type { Engine } from '../engine/engine.ts';
import {
  paths,
  Reply,
  supervisorCommand,
  type GatewayRequest,
  type SupervisorRequest,
} from '../protocol/control.ts';
import type { ByteStream } from '../protocol/runner.ts';

type Answer = Extract<Reply, { ok: true }>;

interface Options {
  data?: ByteStream;
  signal?: AbortSignal;
}

/** Sends one request to a program in a container, and waits for its reply. A refusal becomes an error. */
export async function request(
  engine: Engine,
  container: string,
  message: SupervisorRequest | GatewayRequest,
  options: Options = {},
): Promise<Answer> {
  const { data, reply } = await call(engine, container, message, options);
  for await (const _ of data);
  return await reply;
}

/** As `request`, for an answer that has data. The reply comes behind the data: it resolves when that has been read. */
export async function call(
  engine: Engine,
  container: string,
  message: SupervisorRequest | GatewayRequest,
  options: Options = {},
): Promise<{ data: ByteStream; reply: Promise<Answer> }> {
  const program = isForGateway(message) ? ['node', paths.gateway] : supervisorCommand;
  const exec = await engine.exec(container, [...program, 'control'], {
    stdin: frames(message, options.data),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const { promise: reply, resolve, reject } = Promise.withResolvers<Answer>();
  // A reader that breaks off has its own error to tell.
  reply.catch(() => undefined);
  async function* read(): ByteStream {
    try {
      for await (const frame of decodeFrames(exec.stdout)) {
        if (frame.kind === 'D') yield frame.data;
        if (frame.kind !== 'J') continue;
        const answer = Reply.parse(frame.json);
        if (!answer.ok) throw refused(answer.code, answer.message);
        resolve(answer);
        return;
      }
      const { exitCode, stderr } = await exec.done;
      throw refused(
        'sandbox_failed',
        `The control program ended with code ${exitCode} and no reply. ${stderr}`.trim(),
      );
    } catch (thrown) {
      reject(thrown);
      throw thrown;
    } finally {
      reject(new Error('The answer was not read to its end'));
    }
  }
  return { data: read(), reply };
}

function isForGateway({ op }: SupervisorRequest | GatewayRequest): boolean {
  return (
    ['configure', 'egress', 'allowance', 'credential'] satisfies GatewayRequest['op'][] as string[]
  ).includes(op);
}

async function* frames(message: unknown, data: ByteStream | undefined): ByteStream {
  yield encodeFrame({ kind: 'J', json: message });
  if (data !== undefined) yield* encodeData(data);
}

const known: readonly string[] = ['disk_full', 'invalid_input', 'git_failed'] satisfies ErrorCode[];

function refused(code: string, message: string): SallyportError {
  if (code === 'busy')
    return new SallyportError('task_busy', message, 'Wait for what it does, or start the task again.');
  return new SallyportError(
    known.includes(code) ? (code as ErrorCode) : 'sandbox_failed',
    message,
    code === 'disk_full'
      ? 'Free some space on the disk that holds the engine’s data, then start the task again.'
      : 'Open the task’s log for what came before, then start the task again.',
  );
}
