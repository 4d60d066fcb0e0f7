import assert from 'node:assert/strict';
import { SallyportError } from '../../src/base/errors.ts';
import {
  checkCredential,
  labelOf,
  problemWithBaseUrl,
  problemWithCredential,
  upstreamOf,
} from '../../src/credentials/credential.ts';
import { demonstrationWanted, discover } from '../../src/credentials/discover.ts';
import { Upstream } from '../../src/protocol/control.ts';

const apiKey = 'sk-ant-api03-abcdefghijklmnopqrstuvwxyz';
const oauth = 'sk-ant-oat01-abcdefghijklmnopqrstuvwxyz';

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (thrown) {
    assert.ok(thrown instanceof SallyportError);
    return thrown.code;
  }
  return 'none';
}

describe('credentials', () => {
  it('finds what the environment holds, in order, labelled with the source and without the value', () => {
    const found = discover({
      CLAUDE_CODE_OAUTH_TOKEN: oauth,
      ANTHROPIC_AUTH_TOKEN: 'tok-1234',
      ANTHROPIC_API_KEY: ` ${apiKey}\n`,
    });
    assert.deepEqual(
      found.map(({ label }) => label),
      [
        'Anthropic API key from ANTHROPIC_API_KEY',
        'Token from ANTHROPIC_AUTH_TOKEN',
        'Claude OAuth token from CLAUDE_CODE_OAUTH_TOKEN',
      ],
    );
    assert.equal(found[0]?.credential.value, apiKey);
    assert.deepEqual(discover({ ANTHROPIC_API_KEY: '  ' }), []);
  });

  it('sends a key to the service that the environment names, and an OAuth token only to Anthropic', () => {
    const env = {
      ANTHROPIC_BASE_URL: 'https://models.example.com/v2/',
      ANTHROPIC_AUTH_TOKEN: 'abcd',
      CLAUDE_CODE_OAUTH_TOKEN: oauth,
    };
    const [bearer, token] = discover(env);
    assert.equal(bearer?.credential.baseUrl, 'https://models.example.com/v2');
    assert.equal(bearer.label, 'Token for models.example.com from ANTHROPIC_AUTH_TOKEN');
    assert.equal(token?.credential.baseUrl, undefined);
    assert.ok(bearer);
    assert.deepEqual(Upstream.parse(upstreamOf(bearer.credential)), {
      kind: 'anthropic',
      baseUrl: 'https://models.example.com/v2',
      auth: { type: 'bearer', value: 'abcd' },
    });
  });

  it('refuses what cannot be a key, without showing it', () => {
    for (const [kind, value] of [
      ['api_key', ''],
      ['api_key', 'secret-value-of-mine'],
      ['api_key', `${apiKey} x`],
      ['api_key', `${apiKey}é`],
      ['api_key', 'sk-ant-api03-x'],
      ['api_key', oauth],
      ['oauth', apiKey],
      ['bearer', 'a b c d e'],
      ['bearer', 'x'.repeat(5000)],
    ] as const) {
      const problem = problemWithCredential({ kind, value });
      assert.ok(problem !== undefined, `${kind} ${value}`);
      if (value !== '') assert.ok(!problem.includes(value));
      assert.equal(
        codeOf(() => checkCredential({ kind, value }, 'a test')),
        'invalid_credential',
      );
    }
    assert.equal(problemWithCredential({ kind: 'api_key', value: apiKey }), undefined);
    assert.equal(problemWithCredential({ kind: 'oauth', value: oauth }), undefined);
    assert.equal(
      problemWithCredential({ kind: 'api_key', value: 'other', baseUrl: 'https://x.example' }),
      undefined,
    );
  });

  it('refuses base URLs that hold more than a place', () => {
    for (const url of [
      'models',
      'ftp://x',
      'file:///etc/passwd',
      'https://a:b@x',
      'https://x/?key=1',
      'https://x/#a',
    ]) {
      assert.ok(problemWithBaseUrl(url) !== undefined, url);
    }
    assert.equal(problemWithBaseUrl('http://127.0.0.1:8080/api'), undefined);
  });

  it('fails for a variable that cannot be right, and knows the wish for a demonstration', () => {
    assert.equal(
      codeOf(() => discover({ ANTHROPIC_API_KEY: 'x' })),
      'invalid_credential',
    );
    assert.equal(demonstrationWanted({ SALLYPORT_DEMONSTRATION: '1' }), true);
    assert.equal(demonstrationWanted({ SALLYPORT_DEMONSTRATION: '0' }), false);
  });

  it('names another service in the label', () => {
    const label = labelOf({ kind: 'api_key', value: 'x', baseUrl: 'https://x.example' }, 'here');
    assert.equal(label, 'API key for x.example from here');
  });
});
