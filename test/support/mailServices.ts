import { once } from 'node:events';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export interface Received {
  from: string;
  to: string[];
  data: string;
}

/** A mail server that keeps what it gets. */
export class SmtpSink {
  readonly mails: Received[] = [];
  /** Answer to `DATA`'s end; such as `554 no`. */
  verdict = '250 ok';
  private readonly server: Server = createServer((socket) => this.converse(socket));

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `smtp://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.close();
  }

  private converse(socket: Socket): void {
    let rest = '';
    let mail: Received = { from: '', to: [], data: '' };
    let inData = false;
    socket.setEncoding('utf8');
    socket.on('error', () => socket.destroy());
    socket.write('220 sink\r\n');
    socket.on('data', (text: string) => {
      rest += text;
      for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 2);
        if (inData) {
          if (line !== '.') {
            mail.data += `${line}\n`;
            continue;
          }
          inData = false;
          if (this.verdict.startsWith('2')) this.mails.push(mail);
          mail = { from: '', to: [], data: '' };
          socket.write(`${this.verdict}\r\n`);
          continue;
        }
        const [, from] = /^MAIL FROM:<([^>]*)>/i.exec(line) ?? [];
        const [, to] = /^RCPT TO:<([^>]*)>/i.exec(line) ?? [];
        if (from !== undefined) mail.from = from;
        if (to !== undefined) mail.to.push(to);
        inData = /^DATA/i.test(line);
        const answers = { DATA: '354 go on', QUIT: '221 bye', STARTTLS: '502 not here' };
        const command = line.split(' ', 1)[0]?.toUpperCase() ?? '';
        socket.write(`${command in answers ? answers[command as keyof typeof answers] : '250 ok'}\r\n`);
      }
    });
  }
}

/** Resend's API, as far as sending goes. */
export class FakeResend {
  readonly requests: { url: string; authorization: string; body: Record<string, unknown> }[] = [];
  status = 200;
  private readonly server: HttpServer = createHttpServer((request, response) => {
    void (async () => {
      let text = '';
      for await (const part of request as AsyncIterable<Buffer>) text += part.toString();
      const { url = '', headers } = request;
      const body = JSON.parse(text) as Record<string, unknown>;
      this.requests.push({ url, authorization: headers.authorization ?? '', body });
      response.writeHead(this.status, { 'content-type': 'application/json' }).end('{"id":"1"}');
    })();
  });

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** The link in a mail's text, however the mail was encoded. */
export function linkIn(data: string): string {
  const text = data
    .replaceAll('=\n', '')
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const [link] = /https?:\/\/\S+\/auth\/magic-link\/[A-Za-z0-9_-]+/.exec(text) ?? [];
  if (link === undefined) throw new Error(`There is no link in: ${data}`);
  return link;
}
