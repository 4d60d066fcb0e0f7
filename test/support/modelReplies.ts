import type { IncomingMessage, ServerResponse } from 'node:http';
import { modelRoute } from '../../src/gateway/modelCall.ts';
import { fixedScript, scriptedModel } from '../../src/gateway/scriptedModel.ts';
import type { Turns } from './tasks.ts';

const route = modelRoute({ kind: 'demonstration' });

/** Answers a request as the model's service would, with scripted turns. */
export function answerAsModel(request: IncomingMessage, response: ServerResponse, turns: Turns): void {
  void (async () => {
    const { pathname, search } = new URL(request.url ?? '/', 'http://x');
    const method = request.method ?? '';
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const call = route(method, pathname, search);
    if (call === undefined) {
      response.writeHead(404).end();
      return;
    }
    const { signal } = new AbortController();
    const asked = { call, method, headers: request.headers, body: Buffer.concat(parts) };
    const { status, headers, body } = await scriptedModel(fixedScript(turns)).ask(asked, signal);
    response.writeHead(status, headers);
    body.pipe(response);
  })().catch(() => response.destroy());
}
