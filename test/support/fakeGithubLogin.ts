import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The part of GitHub that signs people in: it holds clients to PKCE, as GitHub does, and codes are good once. */
export class FakeGithub {
  /** Who is signed in there, and where a member. */
  account = { id: 42, login: 'Octocat', name: 'Octo Cat' };
  memberships: Record<string, string> = {};
  /** What the authorisation page was asked, last. */
  asked = new URLSearchParams();
  down = false;
  private readonly codes = new Map<string, { challenge: string; redirect: string }>();
  private readonly server: Server = createServer((request, response) => {
    void (async () => {
      let body = '';
      for await (const part of request as AsyncIterable<Buffer>) body += part.toString();
      const { status, json } = this.answer(
        request.method ?? '',
        new URL(request.url ?? '', 'http://github.example'),
        body,
        request.headers.authorization ?? '',
      );
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
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

  /** The user says yes; where the browser is sent with that. */
  consent(authorizeUrl: string): URL {
    const asked = new URL(authorizeUrl).searchParams;
    this.asked = asked;
    const redirect = asked.get('redirect_uri') ?? '';
    const code = `code-${this.codes.size + 1}`;
    this.codes.set(code, { challenge: asked.get('code_challenge') ?? '', redirect });
    const back = new URL(redirect);
    back.searchParams.set('code', code);
    back.searchParams.set('state', asked.get('state') ?? '');
    return back;
  }

  private answer(
    method: string,
    url: URL,
    body: string,
    authorization: string,
  ): { status: number; json: unknown } {
    if (this.down) return { status: 503, json: {} };
    if (method === 'POST' && url.pathname === '/login/oauth/access_token') {
      const form = new URLSearchParams(body);
      const code = form.get('code') ?? '';
      const known = this.codes.get(code);
      this.codes.delete(code);
      const shown = createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url');
      const good =
        known?.challenge === shown &&
        known.redirect === form.get('redirect_uri') &&
        form.get('client_id') === 'client' &&
        form.get('client_secret') === 'secret';
      return good
        ? { status: 200, json: { access_token: 'gho_x', token_type: 'bearer' } }
        : { status: 200, json: { error: 'bad_verification_code' } };
    }
    if (authorization !== 'Bearer gho_x') return { status: 401, json: {} };
    if (url.pathname === '/user') return { status: 200, json: this.account };
    const [, organization] = /^\/user\/memberships\/orgs\/([^/]+)$/.exec(url.pathname) ?? [];
    const state = this.memberships[decodeURIComponent(organization ?? '')];
    return state === undefined ? { status: 404, json: {} } : { status: 200, json: { state } };
  }
}
