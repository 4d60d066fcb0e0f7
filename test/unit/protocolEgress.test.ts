import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  defaultEgress,
  EgressPolicy,
  isHostName,
  readRule,
  registryRules,
  type EgressRule,
} from '../../src/protocol/egress.ts';

describe('protocolEgress', () => {
  describe('rules', () => {
    const good: [text: string, rule: Partial<EgressRule>][] = [
      ['registry.example.com', { host: 'registry.example.com', subdomains: false, private: false }],
      ['Registry.Example.COM.', { host: 'registry.example.com' }],
      ['*.example.com:8443', { host: 'example.com', subdomains: true, port: 8443 }],
      ['mirror.example.com/debian/ GET,HEAD', { path: '/debian/', methods: ['GET', 'HEAD'] }],
      ['api.example.com GET,POST private', { methods: ['GET', 'POST'], private: true }],
      ['example.com/@scope%2fthing', { path: '/@scope%2fthing' }],
      ['intranet private', { host: 'intranet', private: true }],
      ['  spaced.example.com   POST ', { host: 'spaced.example.com', methods: ['POST'] }],
      ['xn--bcher-kva.example.com', { host: 'xn--bcher-kva.example.com' }],
    ];
    for (const [text, rule] of good) {
      it(`reads ${text.trim()}`, () => {
        const read = readRule(text);
        assert.ok(typeof read === 'object');
        assert.deepEqual({ ...read, ...rule }, read);
      });
    }

    const bad: [text: string, why: RegExp][] = [
      ['', /no rule/],
      ['*', /no rule/],
      ['*.com', /top-level/],
      ['*.*.example.com', /no rule/],
      ['a.*.example.com', /no rule/],
      ['127.0.0.1', /no host name/],
      ['127.1', /no host name/],
      ['2130706433', /no host name/],
      ['0x7f.0.0.1', /no host name/],
      ['0x7f000001', /no host name/],
      ['[::1]', /no rule/],
      ['[::1]:80', /no rule/],
      ['user@example.com', /no host name/],
      ['bücher.example.com', /no host name/],
      ['example.com:0', /no port/],
      ['example.com:65536', /no port/],
      ['example.com:abc', /no rule/],
      ['https://example.com', /no rule/],
      ['-a.example.com', /no host name/],
      ['a..example.com', /no host name/],
      ['example.com get', /neither/],
      ['example.com GET;POST', /neither/],
      ['example.com Private', /neither/],
      ['example.com/a/../b', /path/],
      ['example.com/a/%2e%2e/b', /path/],
      ['example.com/a%2f..%2fb', /path/],
      ['example.com/a/..;x/b', /path/],
      ['example.com/a%5cb', /path/],
      ['example.com/a%252e', /path/],
      ['example.com/a?b=1', /path/],
      ['example.com/a#b', /path/],
      ['example.com/a\\b', /path/],
      ['example.com/ü', /path/],
    ];
    for (const [text, why] of bad) {
      it(`refuses ${text === '' ? 'nothing' : text} with a sentence`, () => {
        const read = readRule(text);
        assert.ok(typeof read === 'string', JSON.stringify(read));
        assert.match(read, why);
      });
    }

    it('reads any text without throwing, and keeps to the grammar of hosts', () => {
      fc.assert(
        fc.property(fc.string({ unit: 'grapheme', maxLength: 80 }), (text) => {
          const read = readRule(text);
          if (typeof read === 'string') assert.ok(read.length > 0);
          else assert.ok(isHostName(read.host));
        }),
      );
    });
  });

  it('has default rules that are all rules, for reading only', () => {
    assert.deepEqual(EgressPolicy.parse(defaultEgress), defaultEgress);
    for (const text of registryRules) {
      const rule = readRule(text);
      assert.ok(typeof rule === 'object', text);
      assert.deepEqual(
        [rule.methods, rule.private, rule.subdomains, rule.port],
        [undefined, false, false, undefined],
      );
    }
  });

  it('lets no policy through that holds a text which is no rule', () => {
    for (const rules of [
      ['127.0.0.1'],
      ['example.com', 'a b c'],
      Array.from({ length: 2001 }, () => 'a.example.com'),
    ]) {
      assert.equal(EgressPolicy.safeParse({ mode: 'list', rules }).success, false);
    }
  });

  it('takes for a host name nothing that ends in a number', () => {
    const number = fc.oneof(
      fc.nat().map(String),
      fc.nat().map((value) => `0x${value.toString(16)}`),
      fc.nat().map((value) => `0${value.toString(8)}`),
      fc.constant('0x'),
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(number, fc.domain()), { maxLength: 3 }), number, (front, last) => {
        assert.equal(isHostName([...front, last].join('.')), false);
      }),
    );
  });

  it('takes every ordinary domain for a host name', () => {
    fc.assert(fc.property(fc.domain(), (name) => assert.equal(isHostName(name.toLowerCase()), true)));
  });
});
