import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isOwnName, networkOf, plainAddress } from '../../src/server/auth/origin.ts';
import { callbackOf } from '../../src/server/auth/grants.ts';
import { ownPath } from '../../src/server/auth/ownPath.ts';

const local = { publicUrl: 'http://localhost:7334', host: '127.0.0.1', port: 7334, allowedHosts: [] };
const open = {
  publicUrl: 'https://runner.example.com',
  host: '0.0.0.0',
  port: 8443,
  allowedHosts: ['inner.example.com', 'other.example.com:9000'],
};

describe('the names of the server', () => {
  it('are those of the loopback with its port, while it listens there only', () => {
    for (const host of [
      'localhost:7334',
      '127.0.0.1:7334',
      '[::1]:7334',
      'LocalHost:7334',
      'a.localhost:7334',
    ])
      assert.equal(isOwnName(local, host, { localPort: 7334 }), true, host);
    for (const host of [
      'localhost',
      'localhost:80',
      'localhost:7335',
      'evil.example:7334',
      'localhost.evil.example:7334',
      '127.0.0.1.evil.example:7334',
      '10.0.0.1:7334',
      '',
      'localhost:7334:7334',
      'localhost:7334@evil.example',
      'localhost:7334/x',
      '[::ffff:10.0.0.1]:7334',
    ])
      assert.equal(isOwnName(local, host, { localPort: 7334 }), false, host);
  });

  it('follow the port that it really listens on', () => {
    assert.equal(
      isOwnName({ ...local, port: 0, publicUrl: 'http://localhost:1' }, 'localhost:5000', {
        localPort: 5000,
      }),
      true,
    );
    assert.equal(
      isOwnName({ ...local, port: 0, publicUrl: 'http://localhost:1' }, 'localhost:5001', {
        localPort: 5000,
      }),
      false,
    );
  });

  it('are the public one and those that are allowed, when it listens everywhere', () => {
    for (const host of [
      'runner.example.com',
      'RUNNER.example.com:443',
      'inner.example.com',
      'inner.example.com:81',
      'other.example.com:9000',
    ])
      assert.equal(isOwnName(open, host, { localPort: 8443 }), true, host);
    for (const host of [
      'runner.example.com:8443',
      'runner.example.com.',
      'other.example.com',
      'x.inner.example.com',
      'localhost:8443',
      '127.0.0.1:8443',
      '192.0.2.1:8443',
    ])
      assert.equal(isOwnName(open, host, { localPort: 8443 }), false, host);
  });

  it('are all of the loopback for a port that is published there', () => {
    const published = { ...local, host: '0.0.0.0' };
    assert.equal(isOwnName(published, '127.0.0.1:7334', { localPort: 7334 }), true);
    assert.equal(isOwnName(published, 'evil.example:7334', { localPort: 7334 }), false);
    assert.equal(isOwnName(published, '192.0.2.1:7334', { localPort: 7334 }), false);
  });

  it('are those of the loopback for a connection that came over it, wherever else it listens', () => {
    const came = { localPort: 8443, localAddress: '::ffff:127.0.0.1' };
    assert.equal(isOwnName(open, 'localhost:8443', came), true);
    assert.equal(isOwnName(open, 'localhost:8444', came), false);
    assert.equal(isOwnName(open, 'evil.example:8443', came), false);
    assert.equal(isOwnName(open, 'localhost:8443', { ...came, localAddress: '192.0.2.1' }), false);
  });

  it('are no others, whatever is tried', () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.string(), fc.ipV4(), fc.ipV6()), fc.nat(70_000), (name, port) => {
        fc.pre(!/^(127\.|(.*\.)?localhost$|(0*:)*0*1$|runner\.example\.com$)/i.test(name));
        assert.equal(isOwnName(local, `${name}:${port}`, { localPort: 7334 }), false);
        assert.equal(isOwnName(open, `${name}:${port}`, { localPort: 8443 }), false);
      }),
    );
  });
});

describe('addresses', () => {
  it('count as one where one person has many', () => {
    assert.equal(networkOf('2001:db8:1:2:3:4:5:6'), networkOf('2001:db8:1:2:ffff::1'));
    assert.notEqual(networkOf('2001:db8:1:2::1'), networkOf('2001:db8:1:3::1'));
    assert.equal(networkOf('::ffff:203.0.113.5'), '203.0.113.5');
    assert.notEqual(networkOf('203.0.113.5'), networkOf('203.0.113.6'));
    assert.equal(plainAddress('::ffff:203.0.113.5'), '203.0.113.5');
    assert.equal(plainAddress('no address'), 'no address');
  });
});

describe('the callback of a program', () => {
  it('is in an editor, at the extension, or on this machine with a port', () => {
    for (const good of [
      'vscode://sallyport.sallyport/signed-in',
      'vscode-insiders://sallyport.sallyport/x?windowId=1',
      'cursor://sallyport.sallyport/x',
      'vscodium://sallyport.sallyport/x',
      'codium://sallyport.sallyport/x',
      'http://127.0.0.1:4567/',
      'http://127.0.0.1:4567/callback?a=b',
      'http://[::1]:4567/',
      // Where an editor in a browser has its way back; browsers take no other machine for that name.
      'http://localhost:4567/',
    ])
      assert.equal(callbackOf(good).href, new URL(good).href);
  });

  it('is nowhere else', () => {
    for (const bad of [
      '',
      'vscode://evil.extension/x',
      'vscode://sallyport.sallyport.evil/x',
      'vscode://sallyport.sallyport:80/x',
      'vscode://sallyport.sallyport',
      'vscode://a@sallyport.sallyport/x',
      'vscode:sallyport.sallyport/x',
      'VSCODE-evil://sallyport.sallyport/',
      'https://127.0.0.1:4567/',
      'http://127.0.0.1/',
      'http://127.0.0.1:80/',
      'http://127.0.0.1:4567@evil.example/',
      'http://evil.example:4567/',
      'http://127.0.0.1.evil.example:1/',
      'http://127.0.0.1:4567/#x',
      'javascript:alert(1)//',
      'data:text/html,x',
      'file:///etc/passwd',
      ' http://127.0.0.1:4567/',
      'http://127.0.0.1:45\n67/',
    ])
      assert.throws(() => callbackOf(bad), /let in only where it listens/, bad);
  });
});

describe('where somebody goes on to', () => {
  it('is a page of the dashboard, and never another host', () => {
    assert.equal(ownPath('/dashboard/tasks/abc?x=1'), '/dashboard/tasks/abc?x=1');
    assert.equal(ownPath('/connect?state=1&callback=vscode%3A'), '/connect?state=1&callback=vscode%3A');
    for (const bad of [
      undefined,
      '',
      '//evil.example',
      '/\\evil.example',
      '\\\\evil.example',
      'https://evil.example/dashboard',
      '/auth/logout',
      '/dashboard/../auth/logout',
      '/dashboardx',
      'dashboard',
      '/d\t/evil',
    ])
      assert.equal(ownPath(bad), '/dashboard', bad);
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true }), fc.string(), (url, text) => {
        for (const tried of [url, text, `/${text}`, `/dashboard${text}`, `/${url}`]) {
          const { origin, pathname } = new URL(ownPath(tried), 'https://runner.example.com');
          assert.equal(origin, 'https://runner.example.com');
          assert.match(pathname, /^\/(dashboard|connect)(\/|$)/);
        }
      }),
    );
  });
});
