import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Surroundings } from '../../src/engine/discovery.ts';
import { candidates, parseAddress } from '../../src/engine/discovery.ts';

const home = '/home/u';

function look(around: Partial<Omit<Surroundings, 'read'>> & { files?: Record<string, string> }) {
  const { files = {}, ...rest } = around;
  return candidates({ env: {}, home, platform: 'linux', read: (path) => files[path], ...rest });
}

const contextId = createHash('sha256').update('far').digest('hex');
const contextFiles = {
  [`${home}/.docker/config.json`]: '{"currentContext":"far"}',
  [`${home}/.docker/contexts/meta/${contextId}/meta.json`]:
    '{"Name":"far","Endpoints":{"docker":{"Host":"ssh://me@far.example:2222"}}}',
};

describe('engine discovery', () => {
  it('takes the setting before everything else, and only that', () => {
    const found = look({ setting: '/x/engine.sock', env: { DOCKER_HOST: 'tcp://a' }, files: contextFiles });
    assert.deepEqual(found, [
      {
        endpoint: { type: 'socket', path: '/x/engine.sock' },
        address: '/x/engine.sock',
        source: 'setting sallyport.engine',
        explicit: true,
      },
    ]);
  });

  it('takes DOCKER_HOST before the context, with certificates where they are asked for', () => {
    const env = { DOCKER_HOST: 'tcp://far:2376', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: '/certs' };
    const tls = { ca: '/certs/ca.pem', cert: '/certs/cert.pem', key: '/certs/key.pem' };
    const [only, ...more] = look({ env, files: contextFiles });
    assert.deepEqual(only?.endpoint, { type: 'tcp', host: 'far', port: 2376, tls });
    assert.equal(only.source, 'DOCKER_HOST');
    assert.deepEqual(more, []);
    const plain = look({ env: { DOCKER_HOST: 'tcp://far', DOCKER_CERT_PATH: '/certs' } });
    assert.deepEqual(plain[0]?.endpoint, { type: 'tcp', host: 'far', port: 2375 });
  });

  it('reads the current Docker context, DOCKER_CONTEXT before the file, DOCKER_CONFIG instead of the home folder', () => {
    const expected = { type: 'ssh', host: 'far.example', port: 2222, username: 'me' };
    assert.deepEqual(look({ files: contextFiles })[0]?.endpoint, expected);
    assert.equal(look({ files: contextFiles })[0]?.source, 'Docker context far');
    assert.equal(look({ files: contextFiles, env: { DOCKER_CONTEXT: 'default' } })[0]?.explicit, false);
    const moved = {
      [`/cfg/contexts/meta/${contextId}/meta.json`]: contextFiles[Object.keys(contextFiles)[1]!]!,
    };
    const found = look({ files: moved, env: { DOCKER_CONFIG: '/cfg', DOCKER_CONTEXT: 'far' } });
    assert.deepEqual(found[0]?.endpoint, expected);
  });

  it('uses the certificates of a context', () => {
    const keys = `${home}/.docker/contexts/tls/${contextId}/docker`;
    const meta = '{"Endpoints":{"docker":{"Host":"tcp://far:2376"}}}';
    const files = {
      ...contextFiles,
      [`${home}/.docker/contexts/meta/${contextId}/meta.json`]: meta,
      [`${keys}/ca.pem`]: 'x',
    };
    const tls = { ca: `${keys}/ca.pem`, cert: `${keys}/cert.pem`, key: `${keys}/key.pem` };
    assert.deepEqual(look({ files })[0]?.endpoint, { type: 'tcp', host: 'far', port: 2376, tls });
  });

  it('does not pass over a context that is missing', () => {
    assert.throws(() => look({ env: { DOCKER_CONTEXT: 'nowhere' } }), { code: 'invalid_input' });
  });

  it('survives a config file that is none', () => {
    assert.ok(look({ files: { [`${home}/.docker/config.json`]: '{"currentContext": 5' } }).length > 1);
    assert.ok(look({ files: { [`${home}/.docker/config.json`]: '{"currentContext": 5}' } }).length > 1);
  });

  it('looks at the standard sockets, Docker before Podman, each once', () => {
    const paths = look({ env: { XDG_RUNTIME_DIR: '/run/user/1' } }).map((candidate) => candidate.address);
    assert.equal(paths[0], '/var/run/docker.sock');
    for (const path of [
      '/run/docker.sock',
      '/run/user/1/docker.sock',
      `${home}/.docker/run/docker.sock`,
      `${home}/.docker/desktop/docker.sock`,
      `${home}/.colima/default/docker.sock`,
      `${home}/.rd/docker.sock`,
      `${home}/.orbstack/run/docker.sock`,
      '/run/user/1/podman/podman.sock',
      '/run/podman/podman.sock',
    ]) {
      assert.equal(paths.filter((other) => other === path).length, 1, path);
    }
    assert.ok(paths.indexOf('/run/user/1/podman/podman.sock') > paths.indexOf(`${home}/.rd/docker.sock`));
    assert.ok(look({ platform: 'win32' }).every(({ address }) => address.startsWith('//./pipe/')));
  });

  it('reads every form of an address', () => {
    const parse = (text: string) => parseAddress(text, 'test');
    assert.deepEqual(parse('unix:///a b/c.sock'), { type: 'socket', path: '/a b/c.sock' });
    assert.deepEqual(parse('npipe:////./pipe/x'), { type: 'socket', path: '//./pipe/x' });
    assert.deepEqual(parse('\\\\.\\pipe\\x'), { type: 'socket', path: '\\\\.\\pipe\\x' });
    assert.deepEqual(parse('10.0.0.1:99'), { type: 'tcp', host: '10.0.0.1', port: 99 });
    assert.deepEqual(parse('tcp://[::1]:99'), { type: 'tcp', host: '::1', port: 99 });
    assert.deepEqual(parse('ssh://h'), { type: 'ssh', host: 'h', port: 22 });
    for (const bad of ['unix://', 'ftp://x', 'tcp://', '::', 'a b']) {
      assert.throws(() => parse(bad), { code: 'invalid_input' }, bad);
    }
  });
});
