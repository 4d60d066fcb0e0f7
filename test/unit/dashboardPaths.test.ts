import assert from 'node:assert/strict';
import { editorOf } from '../../webview/dashboard/editors.ts';
import { home, ownPath, pathOf, type Place, placeOf } from '../../webview/dashboard/paths.ts';
import { payloads } from '../support/evilViews.ts';

const origin = 'https://runner.example.com';
const at = (path: string): Place => placeOf(new URL(path, origin));

describe('addresses of the dashboard', () => {
  it('lead to their pages, and pages to their addresses', () => {
    const places: Place[] = [
      { page: 'tasks' },
      { page: 'new' },
      { page: 'task', id: '0mwqpabj9zfk97j' },
      { page: 'tokens' },
      { page: 'account' },
      { page: 'users' },
      { page: 'audit' },
      { page: 'setup', secret: 'a secret_-.~' },
      { page: 'signin', next: home },
      { page: 'signin', next: '/dashboard/tasks/0mwqpabj9zfk97j' },
      { page: 'signin', next: '/connect?callback=vscode%3A%2F%2Fa%2Fb&challenge=c&state=s&name=n' },
      { page: 'connect', callback: 'vscode://a/b?c=d&e', challenge: 'c', state: '&=', name: 'ö' },
    ];
    for (const place of places) assert.deepEqual(at(pathOf(place)), place);
  });

  it('are unknown when they are none', () => {
    const paths = [
      '/',
      '/dashboard/tasks',
      '/dashboard/tasks/UPPER',
      '/dashboard/tasks/../x',
      '/dashboard/a/b/c',
    ];
    for (const path of [...paths, '/api/v1/tasks', '/dashboard/tasks/0mwqpabj9zfk97j/x'])
      assert.equal(at(path).page, 'unknown', path);
    // A trailing slash is no other page.
    assert.equal(at('/dashboard/').page, 'tasks');
  });

  it('go on after a sign-in only within the dashboard', () => {
    const elsewhere = [
      'https://evil.example.com/',
      '//evil.example.com/dashboard',
      '/\\evil.example.com',
      '/%5cevil.example.com',
      'javascript:alert(1)',
      '/api/v1/tasks',
      '/auth/logout',
      '/signin?next=/signin',
      '/setup',
      '',
      ...payloads,
    ];
    for (const next of elsewhere) assert.equal(ownPath(next), home, next);
    assert.equal(ownPath('/dashboard/tokens'), '/dashboard/tokens');
    assert.equal(ownPath('/dashboard/../auth/logout'), home);
  });

  it('of programs are those of editors with the extension, and of this machine', () => {
    assert.equal(editorOf('vscode://sallyport.sallyport/connect'), 'VS Code');
    assert.equal(editorOf('cursor://sallyport.sallyport/connect?a=b'), 'Cursor');
    assert.equal(editorOf('http://127.0.0.1:41234/callback'), 'a program on this machine');
    assert.equal(editorOf('http://[::1]:41234/'), 'a program on this machine');
    const others = [
      'vscode://evil.extension/connect',
      'vscode://sallyport.sallyport.evil/connect',
      'vscode://user@sallyport.sallyport/connect',
      'https://127.0.0.1:1/',
      'http://127.0.0.1/',
      'http://127.0.0.1.example.com:1/',
      'http://user:pw@127.0.0.1:1/',
      'https://evil.example.com/',
      'file:///etc/passwd',
      ...payloads,
    ];
    for (const callback of others) assert.equal(editorOf(callback), undefined, callback);
  });
});
