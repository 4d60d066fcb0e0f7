import assert from 'node:assert/strict';
import fc from 'fast-check';
import { classify } from '../../src/base/addresses.ts';
import { checkAddresses } from '../../src/gateway/egress/addresses.ts';
import { readAuthority } from '../../src/gateway/egress/authority.ts';
import { decide, decodePath, readPolicy, type Wanted } from '../../src/gateway/egress/decision.ts';
import { isRefusal } from '../../src/gateway/egress/refusal.ts';
import { headLength, readHead, type RequestHead } from '../../src/gateway/egress/requestHead.ts';
import { isHostName, type EgressMode } from '../../src/protocol/egress.ts';

describe('gatewayEgressDecision', () => {
  describe('hosts', () => {
    const refused: [text: string, code: string][] = [
      ['', 'host'],
      [':443', 'host'],
      ['127.0.0.1:443', 'ip_literal'],
      ['127.1:443', 'ip_literal'],
      ['127.0.0.1.:443', 'ip_literal'],
      ['0x7f.1:443', 'ip_literal'],
      ['0X7F.1:443', 'ip_literal'],
      ['0177.0.0.1:443', 'ip_literal'],
      ['2130706433:443', 'ip_literal'],
      ['0x7f000001:443', 'ip_literal'],
      ['example.1:443', 'ip_literal'],
      ['example.0x:443', 'ip_literal'],
      ['[::1]:443', 'ip_literal'],
      ['[::ffff:127.0.0.1]:443', 'ip_literal'],
      ['[fe80::1%25eth0]:443', 'ip_literal'],
      ['::1', 'ip_literal'],
      ['fd00:ec2::254', 'ip_literal'],
      ['example.com.:443', 'host'],
      ['.example.com:443', 'host'],
      ['a..example.com:443', 'host'],
      ['-a.example.com:443', 'host'],
      ['user@example.com:443', 'host'],
      ['user:secret@example.com:443', 'host'],
      ['b\u00fccher.example.com:443', 'host'],
      ['\u212a.example.com:443', 'host'],
      ['\uff11\uff12\uff17.0.0.1:443', 'host'],
      ['127\u30020\u30020\u30021:443', 'host'],
      ['exa mple.com:443', 'host'],
      ['example.com\r\nX: y:443', 'host'],
      ['example.com\0:443', 'host'],
      ['example.com%00:443', 'host'],
      ['example.com%2eevil.example:443', 'host'],
      ['example.com/:443', 'host'],
      ['*.example.com:443', 'host'],
      ['example.com', 'host'],
      ['example.com:', 'host'],
      ['example.com:0', 'host'],
      ['example.com:65536', 'host'],
      ['example.com:+443', 'host'],
      ['example.com:443:443', 'ip_literal'],
      [`${'a'.repeat(64)}.example.com:443`, 'host'],
      [`${'a.'.repeat(126)}example.com:443`, 'host'],
    ];
    for (const [text, code] of refused) {
      it(`refuses ${JSON.stringify(text.slice(0, 60))}`, () => {
        const read = readAuthority(text);
        assert.ok(isRefusal(read), JSON.stringify(read));
        assert.deepEqual([read.code, read.askable, read.status], [code, false, 403]);
        assert.match(read.sentence, /^[\x20-\x7e…]+\.$/);
      });
    }

    it('reads a name and a port, and the usual port where there is one', () => {
      assert.deepEqual(readAuthority('Example.COM:8443'), { host: 'example.com', port: 8443 });
      assert.deepEqual(readAuthority('example.com', 80), { host: 'example.com', port: 80 });
      assert.deepEqual(readAuthority('xn--bcher-kva.example.com:443'), {
        host: 'xn--bcher-kva.example.com',
        port: 443,
      });
    });

    it('lets only names through, whatever comes', () => {
      const piece = fc.oneof(
        fc.string({ unit: 'binary', maxLength: 10 }),
        fc.constantFrom('.', ':', '@', '[', ']', '%', '0x7f', '127', '::', 'example', 'com', '443', '\u212a'),
      );
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
          const read = readAuthority(pieces.join(''), 80);
          if (isRefusal(read)) {
            assert.doesNotMatch(read.sentence, /[^\x20-\x7e…]/);
          } else {
            assert.ok(isHostName(read.host) && read.port >= 1 && read.port <= 65_535);
            // No program that reads addresses takes it for one.
            assert.equal(URL.parse(`http://${read.host}/`)?.hostname, read.host);
          }
        }),
        { numRuns: 2000 },
      );
    });

    it('refuses every IPv4 address in every spelling that resolvers know', () => {
      const part = (value: number): fc.Arbitrary<string> =>
        fc.constantFrom(String(value), `0x${value.toString(16)}`, `0${value.toString(8)}`);
      const address = fc.nat(0xff_ff_ff_ff).chain((value) => {
        const [a, b, c, d] = [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
        return fc.oneof(
          fc.tuple(part(a), part(b), part(c), part(d)),
          fc.tuple(part(a), part(b), part(value & 0xffff)),
          fc.tuple(part(a), part(value & 0xffffff)),
          fc.tuple(part(value)),
        );
      });
      fc.assert(
        fc.property(address, fc.constantFrom('', '.'), (parts, end) => {
          const read = readAuthority(`${parts.join('.')}${end}:443`);
          assert.ok(isRefusal(read));
          assert.equal(read.code, 'ip_literal');
        }),
      );
    });
  });

  describe('rules', () => {
    const cases: [
      what: string,
      mode: EgressMode,
      rules: string[],
      wanted: Partial<Wanted>,
      expected: string,
    ][] = [
      ['lets a named host through', 'list', ['a.example.com'], {}, 'a.example.com'],
      ['means the host exactly', 'list', ['example.com'], {}, 'not_listed'],
      [
        'does not mean a host with the same end',
        'list',
        ['*.example.com'],
        { host: 'badexample.com' },
        'not_listed',
      ],
      [
        'means subdomains at any depth',
        'list',
        ['*.example.com'],
        { host: 'x.y.example.com' },
        '*.example.com',
      ],
      ['does not mean the name above', 'list', ['*.example.com'], { host: 'example.com' }, 'not_listed'],
      ['means port 443 of a tunnel', 'list', ['a.example.com'], { port: 8443 }, 'port'],
      ['means port 80 of plain HTTP', 'list', ['a.example.com'], { kind: 'http', port: 443 }, 'port'],
      ['means no tunnel to port 80', 'list', ['a.example.com'], { port: 80 }, 'port'],
      ['means no tunnel to port 22', 'list', ['a.example.com'], { port: 22 }, 'port'],
      ['means its own port', 'list', ['a.example.com:8443'], { port: 8443 }, 'a.example.com:8443'],
      ['means no other than its own port', 'list', ['a.example.com:8443'], {}, 'port'],
      ['lets reading through', 'list', ['a.example.com'], http('HEAD'), 'a.example.com'],
      ['lets no writing through', 'list', ['a.example.com'], http('POST'), 'method'],
      ['lets no small-letter method through', 'list', ['a.example.com'], http('get'), 'method'],
      ['lets named methods through', 'list', ['a.example.com PUT'], http('PUT'), 'a.example.com PUT'],
      ['lets only named methods through', 'list', ['a.example.com PUT'], http('GET'), 'method'],
      ['cannot see the method in a tunnel', 'list', ['a.example.com PUT'], {}, 'a.example.com PUT'],
      ['lets a path below through', 'list', ['a.example.com/x'], http('GET', '/x/y'), 'a.example.com/x'],
      ['lets the path itself through', 'list', ['a.example.com/x'], http('GET', '/x'), 'a.example.com/x'],
      ['does not mean a path with the same start', 'list', ['a.example.com/x'], http('GET', '/xy'), 'path'],
      ['does not mean another case', 'list', ['a.example.com/x'], http('GET', '/X/y'), 'path'],
      ['refuses dot segments', 'list', ['a.example.com/x/'], http('GET', '/x/../y'), 'path'],
      ['refuses encoded dot segments', 'list', ['a.example.com/x/'], http('GET', '/x/%2E%2e/y'), 'path'],
      ['refuses half encoded dots', 'list', ['a.example.com/x/'], http('GET', '/x/.%2e/y'), 'path'],
      [
        'refuses encoded slashes before dots',
        'list',
        ['a.example.com/x/'],
        http('GET', '/x%2f..%2fy'),
        'path',
      ],
      ['refuses twice encoded dots', 'list', ['a.example.com/x/'], http('GET', '/x/%252e%252e/y'), 'path'],
      ['refuses dots with parameters', 'list', ['a.example.com/x/'], http('GET', '/x/..;a=b/y'), 'path'],
      ['refuses backslashes', 'list', ['a.example.com/x/'], http('GET', '/x/..\\y'), 'path'],
      ['refuses encoded backslashes', 'list', ['a.example.com/x/'], http('GET', '/x/..%5cy'), 'path'],
      ['refuses an encoded start', 'list', ['a.example.com/x/'], http('GET', '/%78/y'), 'path'],
      ['refuses an encoded slash at the border', 'list', ['a.example.com/x/'], http('GET', '/x%2fy'), 'path'],
      [
        'lets an encoded slash through that a rule names',
        'list',
        ['a.example.com/@a%2f'],
        http('GET', '/@a%2fb'),
        'a.example.com/@a%2f',
      ],
      [
        'refuses dots behind an encoded slash',
        'list',
        ['a.example.com/@a%2f'],
        http('GET', '/@a%2f../b'),
        'path',
      ],
      [
        'lets an encoded slash below through',
        'list',
        ['a.example.com/x/'],
        http('GET', '/x/@a%2fb'),
        'a.example.com/x/',
      ],
      [
        'leaves paths alone where all are allowed',
        'list',
        ['a.example.com'],
        http('GET', '/../%2e'),
        'a.example.com',
      ],
      [
        'needs method and path of one rule',
        'list',
        ['a.example.com/x POST', 'a.example.com/y'],
        http('POST', '/y'),
        'path',
      ],
      ['lets nothing through when closed', 'closed', ['a.example.com'], {}, 'closed'],
      [
        'lets every host through when open',
        'open',
        [],
        { host: 'b.example.org' },
        'The network of this sandbox is open.',
      ],
      ['lets only the usual ports through when open', 'open', [], { port: 22 }, 'port'],
      ['lets a named port through when open', 'open', ['a.example.com:22'], { port: 22 }, 'a.example.com:22'],
      ['lets no writing over plain HTTP through when open', 'open', [], http('POST'), 'method'],
      [
        'lets named methods through when open',
        'open',
        ['a.example.com POST'],
        http('POST'),
        'a.example.com POST',
      ],
    ];
    for (const [what, mode, rules, part, expected] of cases) {
      it(`${what}: ${mode} ${rules.join(', ')}`, () => {
        const wanted: Wanted = {
          kind: 'tunnel',
          host: 'a.example.com',
          port: part.kind === 'http' ? 80 : 443,
          ...part,
        };
        const decision = decide(readPolicy({ mode, rules }, []), wanted);
        if (!isRefusal(decision)) assert.equal(decision.reason, expected);
        else {
          assert.equal(decision.code, expected);
          assert.equal(decision.askable, expected !== 'closed');
          if (expected !== 'closed') assert.match(decision.sentence, /Ask the user to allow it\.$/);
        }
      });
    }

    it('says a refusal as an agent can use it', () => {
      const wanted: Wanted = { kind: 'tunnel', host: 'a.example.com', port: 443 };
      const decision = decide(readPolicy({ mode: 'list', rules: [] }, []), wanted);
      assert.ok(isRefusal(decision));
      assert.equal(
        decision.sentence,
        'a.example.com is not on the list of this sandbox. Ask the user to allow it.',
      );
    });

    it('allows private addresses only by a rule that matches and says so', () => {
      const wanted: Wanted = { kind: 'tunnel', host: 'a.example.com', port: 443 };
      const isPrivate = (...rules: string[]): boolean => {
        const decision = decide(readPolicy({ mode: 'open', rules }, []), wanted);
        return !isRefusal(decision) && decision.private;
      };
      assert.equal(isPrivate('a.example.com private'), true);
      assert.equal(isPrivate('a.example.com', '*.example.com private'), true);
      assert.equal(isPrivate('a.example.com'), false);
      assert.equal(isPrivate('b.example.com private'), false);
      assert.equal(isPrivate('a.example.com:8443 private'), false);
      assert.equal(isPrivate(), false);
    });

    it('remembers hosts to which the user said no, and lets a rule win over that', () => {
      const wanted: Wanted = { kind: 'tunnel', host: 'a.example.com', port: 443 };
      for (const refused of ['a.example.com', 'A.example.com', 'a.example.com:443']) {
        const decision = decide(readPolicy({ mode: 'list', rules: [] }, [refused]), wanted);
        assert.ok(isRefusal(decision) && decision.code === 'user_refused');
      }
      const allowed = decide(
        readPolicy({ mode: 'list', rules: ['a.example.com'] }, ['a.example.com']),
        wanted,
      );
      assert.equal(isRefusal(allowed), false);
    });

    it('never decodes a path to one with a hidden way up', () => {
      const piece = fc.constantFrom(
        '/',
        '.',
        '..',
        '%2e',
        '%2F',
        '%5c',
        '\\',
        ';',
        '%25',
        '%00',
        'a',
        '%61',
        '%',
      );
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
          const decoded = decodePath(`/${pieces.join('')}`);
          if (decoded === undefined) return;
          assert.doesNotMatch(decoded, /[\\%\x00-\x1f]/);
          assert.ok(new URL(`http://h${decoded.replaceAll('?', '')}`).pathname.length >= decoded.length - 1);
          assert.equal(decoded.split('/').includes('..'), false);
        }),
        { numRuns: 2000 },
      );
    });
  });

  describe('addresses', () => {
    const kinds = {
      forbidden: [
        '0.0.0.0',
        '0.1.2.3',
        '127.0.0.1',
        '127.255.255.254',
        '169.254.0.1',
        '169.254.169.254',
        '169.254.170.2',
        '100.100.100.200',
        '168.63.129.16',
        '192.0.0.192',
        '224.0.0.1',
        '239.255.255.250',
        '240.0.0.1',
        '255.255.255.255',
        '::',
        '::1',
        '::127.0.0.1',
        '::ffff:127.0.0.1',
        '::ffff:7f00:1',
        '::ffff:169.254.169.254',
        '::ffff:0:169.254.169.254',
        '64:ff9b::169.254.169.254',
        '64:ff9b::7f00:1',
        '64:ff9b:1::1',
        '2002:7f00:1::',
        '2002:a9fe:a9fe::1',
        '2001:0:1::1',
        'fe80::1',
        'fe80::1%eth0',
        'febf::1',
        'ff02::1',
        'fd00:ec2::254',
        'fd00:ec2::23',
        'fd20:ce::254',
        '100::1',
        '',
        'localhost',
        '127.1',
        '2130706433',
        '0x7f000001',
        '1.2.3.4 ',
      ],
      private: [
        '10.0.0.1',
        '10.255.255.255',
        '172.16.0.1',
        '172.17.0.1',
        '172.31.255.255',
        '192.168.0.1',
        '100.64.0.1',
        '100.127.255.255',
        '192.0.0.1',
        '198.18.0.1',
        '198.19.255.255',
        'fc00::1',
        'fd12:3456::1',
        'fec0::1',
        '::ffff:10.0.0.1',
        '64:ff9b::192.168.1.1',
      ],
      public: [
        '1.1.1.1',
        '8.8.8.8',
        '172.15.255.255',
        '172.32.0.1',
        '100.63.255.255',
        '100.128.0.1',
        '192.0.1.1',
        '203.0.113.7',
        '198.51.100.7',
        '192.0.2.7',
        '2606:4700:4700::1111',
        '2001:db8::1',
        '::ffff:203.0.113.7',
        '64:ff9b::203.0.113.7',
      ],
    } as const;
    for (const [kind, addresses] of Object.entries(kinds)) {
      for (const address of addresses) {
        it(`takes ${address === '' ? 'nothing' : address} for ${kind}`, () =>
          assert.equal(classify(address), kind));
      }
    }

    it('takes every form that holds an IPv4 address at most for what that address is', () => {
      const rank = { forbidden: 0, private: 1, public: 2 };
      fc.assert(
        fc.property(
          fc.ipV4(),
          fc.constantFrom('::ffff:', '64:ff9b::', '::ffff:0:', '::'),
          (address, prefix) => {
            assert.ok(rank[classify(prefix + address)] <= rank[classify(address)]);
          },
        ),
      );
    });

    it('refuses a name when any of its addresses may not be reached', () => {
      const codes = (addresses: string[], allowPrivate: boolean): string | undefined =>
        checkAddresses('a.example.com', addresses, allowPrivate)?.code;
      assert.equal(codes(['203.0.113.7', '2606:4700::1'], false), undefined);
      assert.equal(codes(['203.0.113.7', '10.0.0.1'], false), 'private_address');
      assert.equal(codes(['10.0.0.1', '203.0.113.7'], true), undefined);
      assert.equal(codes(['203.0.113.7', '10.0.0.1', '127.0.0.1'], true), 'address');
      assert.equal(codes(['10.0.0.1', '169.254.169.254'], false), 'address');
    });
  });

  describe('heads', () => {
    const good = 'GET http://a.example.com/x?y=1 HTTP/1.1\r\nHost: a.example.com\r\n\r\n';

    it('reads a plain request, and keeps what is passed on in its order', () => {
      const head = read(
        'POST http://A.example.com:80/x?y=1 HTTP/1.1\r\nHost: a.example.com\r\nAccept: */*\r\nX-A: 1\r\nx-a: 2\r\n' +
          'Proxy-Authorization: Basic Zm9v\r\nProxy-Connection: keep-alive\r\nConnection: X-Gone, Upgrade\r\nx-gone: 1\r\n' +
          'Keep-Alive: 5\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nContent-Length: 3\r\n' +
          'Cookie: a=b\r\n\r\n',
      );
      assert.deepEqual(head, {
        kind: 'http',
        authority: { host: 'a.example.com', port: 80 },
        method: 'POST',
        target: '/x?y=1',
        path: '/x',
        version: '1.1',
        headers: [
          ['Accept', '*/*'],
          ['X-A', '1'],
          ['x-a', '2'],
          ['Cookie', 'a=b'],
        ],
        body: { kind: 'length', bytes: 3 },
        expectsContinue: false,
      });
    });

    it('reads a URL without a path, and a request for a tunnel', () => {
      const head = read('GET http://a.example.com?x HTTP/1.0\r\n\r\n');
      assert.ok('target' in head && head.target === '/?x' && head.path === '/');
      assert.deepEqual(read('CONNECT a.example.com:443 HTTP/1.1\r\nHost: whatever\r\n\r\n'), {
        kind: 'tunnel',
        authority: { host: 'a.example.com', port: 443 },
      });
    });

    const url = 'GET http://a.example.com/ HTTP/1.1\r\n';
    const host = 'Host: a.example.com\r\n';
    const post = `POST http://a.example.com/ HTTP/1.1\r\n${host}`;
    const bad: [what: string, text: string, code: string][] = [
      ['an origin-form target', `GET / HTTP/1.1\r\n${host}\r\n`, 'scheme'],
      ['an asterisk', `OPTIONS * HTTP/1.1\r\n${host}\r\n`, 'scheme'],
      ['a target without a scheme', `GET //a.example.com/ HTTP/1.1\r\n${host}\r\n`, 'scheme'],
      ['https as a target', `GET https://a.example.com/ HTTP/1.1\r\n${host}\r\n`, 'scheme'],
      ['ftp as a target', `GET ftp://a.example.com/ HTTP/1.1\r\n${host}\r\n`, 'scheme'],
      ['file as a target', `GET file:///etc/passwd HTTP/1.1\r\n${host}\r\n`, 'scheme'],
      ['a user in the URL', `GET http://u:p@a.example.com/ HTTP/1.1\r\n${host}\r\n`, 'host'],
      [
        'an allowed host as a user',
        `GET http://a.example.com@b.example.com/ HTTP/1.1\r\n${host}\r\n`,
        'host',
      ],
      [
        'a backslash in the host',
        `GET http://b.example.com\\@a.example.com/ HTTP/1.1\r\n${host}\r\n`,
        'host',
      ],
      ['an address in the URL', `GET http://169.254.169.254/ HTTP/1.1\r\n${host}\r\n`, 'ip_literal'],
      ['a fragment', `GET http://a.example.com/#x HTTP/1.1\r\n${host}\r\n`, 'malformed'],
      ['bytes beyond ASCII in the URL', `GET http://a.example.com/\xfc HTTP/1.1\r\n${host}\r\n`, 'malformed'],
      ['another Host', `${url}Host: b.example.com\r\n\r\n`, 'host_mismatch'],
      ['another port in Host', `${url}Host: a.example.com:8080\r\n\r\n`, 'host_mismatch'],
      ['an empty Host', `${url}Host:\r\n\r\n`, 'host_mismatch'],
      ['two Hosts', `${url}${host}${host}\r\n`, 'malformed'],
      ['no Host', `${url}\r\n`, 'malformed'],
      ['both kinds of length', `${post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`, 'malformed'],
      ['several lengths', `${post}Content-Length: 3\r\nContent-Length: 3\r\n\r\n`, 'malformed'],
      ['a list of lengths', `${post}Content-Length: 3, 3\r\n\r\n`, 'malformed'],
      ['a signed length', `${post}Content-Length: +3\r\n\r\n`, 'malformed'],
      ['a hexadecimal length', `${post}Content-Length: 0x3\r\n\r\n`, 'malformed'],
      ['a length without an end', `${post}Content-Length: 99999999999999999999\r\n\r\n`, 'malformed'],
      ['an unknown coding', `${post}Transfer-Encoding: xchunked\r\n\r\n`, 'malformed'],
      ['two codings', `${post}Transfer-Encoding: gzip, chunked\r\n\r\n`, 'malformed'],
      [
        'a coding twice',
        `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
        'malformed',
      ],
      [
        'a coding in HTTP/1.0',
        post.replace('1.1', '1.0') + 'Transfer-Encoding: chunked\r\n\r\n',
        'malformed',
      ],
      ['a hidden coding', `${post}Transfer-Encoding : chunked\r\n\r\n`, 'malformed'],
      ['a folded header', `${post}X: a\r\n b\r\n\r\n`, 'malformed'],
      ['a header that begins with a space', `${url} ${host}\r\n`, 'malformed'],
      ['a header without a name', `${url}${host}: x\r\n\r\n`, 'malformed'],
      ['a header without a colon', `${url}${host}x\r\n\r\n`, 'malformed'],
      ['too many headers', `${url}${host}${'a: b\r\n'.repeat(100)}\r\n`, 'malformed'],
      ['a body of GET', `${url}${host}Content-Length: 1\r\n\r\n`, 'malformed'],
      ['a body of CONNECT', 'CONNECT a.example.com:443 HTTP/1.1\r\nContent-Length: 1\r\n\r\n', 'malformed'],
      ['a URL for CONNECT', 'CONNECT http://a.example.com:443/ HTTP/1.1\r\n\r\n', 'ip_literal'],
      ['CONNECT without a port', 'CONNECT a.example.com HTTP/1.1\r\n\r\n', 'host'],
      ['HTTP/2', `GET http://a.example.com/ HTTP/2.0\r\n${host}\r\n`, 'malformed'],
      ['HTTP/0.9', 'GET http://a.example.com/\r\n\r\n', 'malformed'],
      ['two spaces', `GET  http://a.example.com/ HTTP/1.1\r\n${host}\r\n`, 'malformed'],
      ['a space in the URL', `GET http://a.example.com/ x HTTP/1.1\r\n${host}\r\n`, 'malformed'],
      ['a tab for a space', `GET\thttp://a.example.com/ HTTP/1.1\r\n${host}\r\n`, 'malformed'],
      ['a method that is none', `G(T http://a.example.com/ HTTP/1.1\r\n${host}\r\n`, 'malformed'],
      ['an unknown expectation', `${post}Expect: 200-ok\r\n\r\n`, 'malformed'],
      ['an empty line at first', `\r\n${good}`, 'malformed'],
      ['LF alone', good.replaceAll('\r\n', '\n'), 'malformed'],
      ['LF alone in one place', good.replace('\r\nHost', '\nHost'), 'malformed'],
      ['CR alone', good.replace('Host', 'X: a\rHost'), 'malformed'],
      ['NUL', good.replace('Host', 'X: \0\r\nHost'), 'malformed'],
      ['an escape character', good.replace('Host', 'X: \x1b[2J\r\nHost'), 'malformed'],
      ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'malformed'],
      ['a head without an end', `${url}X: ${'a'.repeat(40_000)}`, 'malformed'],
    ];
    for (const [what, text, code] of bad) {
      it(`refuses ${what}`, () => {
        const bytes = Buffer.from(text, 'latin1');
        const length = headLength(bytes);
        const refused = typeof length === 'number' ? readHead(bytes.subarray(0, length)) : length;
        assert.ok(refused !== undefined);
        if ('refusal' in refused) assert.equal(refused.refusal.code, code);
        else assert.ok(isRefusal(refused) && refused.code === code, JSON.stringify(refused));
      });
    }

    it('waits for the end of a head, wherever it is cut', () => {
      for (let cut = 0; cut < good.length; cut++)
        assert.equal(headLength(Buffer.from(good.slice(0, cut))), undefined);
      assert.equal(headLength(Buffer.from(`${good}more`)), good.length);
    });

    it('reads any bytes without throwing, and passes on what is free of tricks', () => {
      const piece = fc.oneof(
        fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
        fc.constantFrom(
          '\r\n',
          '\r\n\r\n',
          ' ',
          ':',
          'GET ',
          'http://a.example.com/',
          ' HTTP/1.1',
          'Host: a.example.com',
        ),
      );
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 12 }), fc.boolean(), (pieces, begun) => {
          const bytes = Buffer.from(
            (begun ? 'GET http://a.example.com/ HTTP/1.1\r\n' : '') + pieces.join(''),
            'latin1',
          );
          const length = headLength(bytes);
          if (typeof length !== 'number') return;
          const head = readHead(bytes.subarray(0, length));
          if ('refusal' in head || head.kind !== 'http') return;
          for (const text of [head.method, head.target, ...head.headers.flat()])
            assert.doesNotMatch(text, /[\r\n\0]/);
        }),
        { numRuns: 2000 },
      );
    });
  });
});

function http(method: string, path = '/'): Partial<Wanted> {
  return { kind: 'http', method, path };
}

function read(text: string): RequestHead {
  const bytes = Buffer.from(text, 'latin1');
  assert.equal(headLength(bytes), bytes.length);
  const head = readHead(bytes);
  assert.ok(!('refusal' in head), JSON.stringify(head));
  return head;
}
