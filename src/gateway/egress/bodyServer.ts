import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { BodyFraming, RequestHead } from './requestHead.ts';

export type HttpHead = Extract<RequestHead, { kind: 'http' }>;

/** Has to answer with `Connection: close`, or to destroy the socket. */
type Take = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * Reads the bodies of requests whose heads were read, and frames the answers: Node's own HTTP server, on connections that
 * it is given. It sees a head that was written anew, so that its reading and ours cannot differ.
 */
export class BodyServer {
  private readonly server: Server;
  private readonly takers = new WeakMap<Socket, Take>();
  private readonly taken = new WeakMap<object, IncomingMessage>();

  constructor() {
    this.server = createServer(
      { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 1, insecureHTTPParser: false },
      (request, response) => {
        const take = this.takers.get(request.socket);
        // A second request on the same connection, which closes after the first answer.
        if (take === undefined) return;
        this.takers.delete(request.socket);
        this.taken.set(request.socket, request);
        take(request, response);
      },
    );
    this.server.on('clientError', (_, socket) => {
      // What comes after a whole request is of no interest; its answer is still on the way.
      if (this.taken.get(socket)?.complete !== true) socket.destroy();
    });
  }

  /** Takes over a paused socket, `held` being what was read from it after the head. */
  serve(socket: Socket, head: HttpHead, held: Buffer, take: Take): void {
    this.takers.set(socket, take);
    const method = head.method === 'HEAD' ? 'HEAD' : head.body.kind === 'none' ? 'GET' : 'POST';
    const expect = head.expectsContinue ? 'expect: 100-continue\r\n' : '';
    const text = `${method} / HTTP/${head.version}\r\nhost: x\r\n${expect}${framing(head.body)}\r\n`;
    socket.unshift(Buffer.concat([Buffer.from(text, 'latin1'), held]));
    this.server.emit('connection', socket);
    socket.resume();
  }
}

function framing(body: BodyFraming): string {
  switch (body.kind) {
    case 'none':
      return '';
    case 'chunked':
      return 'transfer-encoding: chunked\r\n';
    case 'length':
      return `content-length: ${body.bytes}\r\n`;
  }
}
