import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type Server } from 'node:http';
import { createServer as createSecureServer, get as getSecure } from 'node:https';
import {
  connect,
  createServer as createTcp,
  type AddressInfo,
  type Server as TcpServer,
  type Socket,
} from 'node:net';
import { rootCertificates } from 'node:tls';
import { agentThrough, connectThrough, proxyFor } from '../../src/gateway/egress/networkWay.ts';
import { certificateFor } from '../support/certificate.ts';

const secret = 'p%40ss';

describe('gatewayEgressWay', () => {
  const servers: TcpServer[] = [];
  const sockets = new Set<Socket>();
  /** What the company's proxy was asked. */
  let asked: { target: string; authorization: string | undefined }[];
  let verdict: string;
  let proxy: Server;

  async function listen(server: TcpServer): Promise<number> {
    servers.push(server);
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  beforeEach(() => {
    asked = [];
    verdict = '200 Connection established';
    proxy = createServer();
    proxy.on('connect', (request, socket: Socket, head: Buffer) => {
      asked.push({ target: request.url ?? '', authorization: request.headers['proxy-authorization'] });
      if (!verdict.startsWith('200')) {
        socket.end(`HTTP/1.1 ${verdict}\r\n\r\n`);
        return;
      }
      const [, port] = (request.url ?? '').split(':');
      const onward = connect(Number(port), '127.0.0.1', () => {
        socket.write(`HTTP/1.1 ${verdict}\r\nX-Secret: of the proxy\r\n\r\n`);
        onward.write(head);
        onward.pipe(socket).pipe(onward);
      });
      onward.on('error', () => socket.destroy());
    });
  });

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers.splice(0)) server.close();
  });

  it('reaches a host directly where there is no proxy', async () => {
    const port = await listen(createServer((_, response) => response.end('direct')));
    const socket = await connectThrough({}, '127.0.0.1', port);
    socket.write('GET / HTTP/1.0\r\n\r\n');
    assert.match(await textOf(socket), /direct$/);
  });

  it('closes a connection that the other side has ended', async () => {
    const port = await listen(createTcp({ allowHalfOpen: true }, (socket) => socket.end('bye')));
    const socket = await connectThrough({}, '127.0.0.1', port);
    socket.resume();
    await once(socket, 'close');
  });

  it('asks the proxy for a tunnel, with the user of its URL', async () => {
    const port = await listen(createServer((_, response) => response.end('tunnelled')));
    const at = await listen(proxy);
    const network = { proxy: `http://user:${secret}@127.0.0.1:${at}` };
    const socket = await connectThrough(network, 'host.example.com', port);
    socket.write('GET / HTTP/1.0\r\n\r\n');
    assert.match(await textOf(socket), /tunnelled$/);
    const authorization = `Basic ${Buffer.from('user:p@ss').toString('base64')}`;
    assert.deepEqual(asked, [{ target: `host.example.com:${port}`, authorization }]);
  });

  it('keeps bytes that come in one piece with the answer of the proxy', async () => {
    const at = await listen(
      createTcp((socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\nfirst words'))),
    );
    const socket = await connectThrough({ proxy: `http://127.0.0.1:${at}` }, 'host.example.com', 443);
    assert.equal(await textOf(socket), 'first words');
  });

  it('tells what the proxy answered, and no more of it', async () => {
    const at = await listen(proxy);
    verdict = '407 Proxy Authentication Required';
    const network = { proxy: `http://user:${secret}@127.0.0.1:${at}` };
    const error = await connectThrough(network, 'host.example.com', 443).then(
      () => assert.fail('It must be refused'),
      (thrown: unknown) => thrown as NodeJS.ErrnoException,
    );
    assert.equal(error.code, 'EPROXY');
    assert.equal(error.message, "The network's proxy answered 407");
  });

  for (const [what, answer] of [
    ['hangs up', ''],
    ['speaks something else', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['sends a head without an end', 'x'.repeat(40_000)],
  ] as const) {
    it(`fails when the proxy ${what}`, async () => {
      const at = await listen(createTcp((socket) => socket.once('data', () => socket.end(answer))));
      await assert.rejects(connectThrough({ proxy: `http://127.0.0.1:${at}` }, 'host.example.com', 443), {
        code: 'EPROXY',
      });
    });
  }

  it('refuses a proxy of another kind without quoting its password', async () => {
    await assert.rejects(
      connectThrough({ proxy: 'socks5://u:verysecret@127.0.0.1:1' }, 'a.example.com', 443),
      {
        code: 'invalid_input',
        message: 'The proxy of the network settings cannot be used.',
      },
    );
  });

  it('ends an attempt at its signal', async () => {
    const at = await listen(createTcp());
    const controller = new AbortController();
    const attempt = connectThrough(
      { proxy: `http://127.0.0.1:${at}` },
      'host.example.com',
      443,
      controller.signal,
    );
    controller.abort();
    await assert.rejects(attempt, { name: 'AbortError' });
  });

  it('gives an agent for HTTP and HTTPS, which checks the name of the server', async () => {
    const { key, cert } = certificateFor('host.example.com');
    const secure = await listen(createSecureServer({ key, cert }, (_, response) => response.end('secure')));
    const plain = await listen(createServer((_, response) => response.end('plain')));
    const at = await listen(proxy);
    const network = { proxy: `http://127.0.0.1:${at}` };
    const ca = [...rootCertificates, cert];

    const overTls = agentThrough(network, true, { ca });
    const overTcp = agentThrough(network, false);
    try {
      const ask = (url: string): Promise<string> =>
        new Promise((resolve, reject) => {
          const tls = url.startsWith('https');
          (tls ? getSecure : get)(url, { agent: tls ? overTls : overTcp }, (answer) => {
            answer.setEncoding('utf8').on('data', resolve);
          }).on('error', reject);
        });
      assert.equal(await ask(`https://host.example.com:${secure}/`), 'secure');
      assert.equal(await ask(`http://host.example.com:${plain}/`), 'plain');
      await assert.rejects(ask(`https://other.example.com:${secure}/`), {
        code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      });
    } finally {
      overTls.destroy();
      overTcp.destroy();
    }
  });

  describe('hosts without the proxy', () => {
    const cases: [noProxy: string, host: string, port: number, exempt: boolean][] = [
      ['example.com', 'example.com', 443, true],
      ['example.com', 'a.example.com', 443, true],
      ['example.com', 'notexample.com', 443, false],
      ['.example.com', 'a.example.com', 443, true],
      ['*.example.com', 'A.Example.com', 443, true],
      ['example.com:8443', 'example.com', 8443, true],
      ['example.com:8443', 'example.com', 443, false],
      ['localhost, a.example.com', 'a.example.com', 80, true],
      ['localhost b.example.com', 'b.example.com', 80, true],
      ['*', 'anything.example.com', 80, true],
      ['', 'example.com', 80, false],
      ['10.0.0.0/8', '10.1.2.3', 80, true],
      ['10.0.0.0/8', '11.1.2.3', 80, false],
      ['fd00::/8', 'fd12::1', 80, true],
      ['127.0.0.1', '127.0.0.1', 80, true],
      ['10.0.0.0/8', 'fd12::1', 80, false],
    ];
    for (const [noProxy, host, port, exempt] of cases) {
      it(`${noProxy === '' ? '(nothing)' : noProxy} ${exempt ? 'means' : 'does not mean'} ${host}:${port}`, () => {
        const way = proxyFor({ proxy: 'http://proxy.example.com:3128', noProxy }, host, port);
        assert.equal(way === undefined, exempt);
      });
    }
  });
});

async function textOf(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString('utf8');
  return text;
}
