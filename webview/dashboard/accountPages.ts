import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { AuditEntry, SessionView } from '../../src/protocol/accounts.ts';
import {
  type Role,
  type Scope,
  scopesOf,
  type TokenView,
  type UserView,
} from '../../src/protocol/runnerApi.ts';
import { safeLine } from '../../src/protocol/safeText.ts';
import { icon } from '../task/icons.ts';
import { ask, copy, toast } from './dialogs.ts';
import { passwordProblem, passwordTwice } from './entryPages.ts';
import { emptyState, fieldsOf, loading, Page } from './page.ts';
import { ago } from './taskTable.ts';

const scopeWords: Readonly<Record<Scope, string>> = {
  'tasks:read': 'Look at tasks',
  'tasks:write': 'Start and steer tasks',
  account: 'Your tokens and password',
  admin: 'Users and audit',
};

const day = 24 * 60 * 60_000;

/** API tokens: made, shown once, revoked. */
export class TokensPage extends Page {
  static override properties = { ...Page.properties, tokens: { state: true }, fresh: { state: true } };
  declare tokens: TokenView[] | undefined;
  /** The token that was made just now, and its secret. */
  declare fresh: { name: string; secret: string } | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.load();
  }

  override render(): TemplateResult {
    const scopes = scopesOf[this.shell.me?.role ?? 'viewer'];
    return html`<div class="d-page">
      <h1>API tokens</h1>
      <p class="dim">
        For scripts and other programs: as <code>Authorization: Bearer slp_…</code>. A token can never do more
        than you.
      </p>
      ${this.problemBox()} ${this.fresh === undefined ? nothing : this.freshToken(this.fresh)}
      <form class="d-form d-box" @submit=${(event: SubmitEvent) => void this.create(event)}>
        <h2>New token</h2>
        <div class="d-row">
          <label class="d-field grow">
            <span>Name</span>
            <input name="name" required maxlength="100" autocomplete="off" placeholder="What it is for" />
          </label>
          <label class="d-field">
            <span>Expires</span>
            <select name="days">
              <option value="7">in 7 days</option>
              <option value="30">in 30 days</option>
              <option value="90" selected>in 90 days</option>
              <option value="365">in a year</option>
              <option value="">never</option>
            </select>
          </label>
        </div>
        <fieldset class="d-checks inline">
          <legend>It may</legend>
          ${scopes.map(
            (scope) =>
              html`<label class="d-check">
                <input type="checkbox" name="scope-${scope}" ?checked=${scope.startsWith('tasks:')} />
                <span>${scopeWords[scope]}</span>
              </label>`,
          )}
        </fieldset>
        <div class="d-actions">
          <button class="d-button primary" ?disabled=${this.busy}>Create token</button>
        </div>
      </form>
      ${this.list()}
    </div>`;
  }

  private freshToken({ name, secret }: { name: string; secret: string }): TemplateResult {
    return html`<div class="d-notice good" role="status">
      ${icon('check')}
      <div>
        <strong>${safeLine(name, 100)} is made.</strong> Copy it now: it is shown only this once.
        <div class="d-secret">
          <code>${secret}</code>
          <button class="d-button primary" @click=${() => void copy(secret)}>Copy</button>
          <button class="d-button" @click=${() => (this.fresh = undefined)}>Done</button>
        </div>
      </div>
    </div>`;
  }

  private list(): TemplateResult | typeof nothing {
    const { tokens } = this;
    if (tokens === undefined) return this.problem === undefined ? loading('your tokens') : nothing;
    if (tokens.length === 0)
      return emptyState(
        'No token',
        'Scripts and editors that you connect get one each; all of them are listed here.',
      );
    const now = Date.now();
    return html`<table class="d-table">
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Begins with</th>
          <th scope="col">May</th>
          <th scope="col">Made</th>
          <th scope="col">Last used</th>
          <th scope="col">Expires</th>
          <th scope="col"><span class="hidden-label">Actions</span></th>
        </tr>
      </thead>
      <tbody>
        ${repeat(
          tokens,
          ({ id }) => id,
          (token) =>
            html`<tr>
              <td class="c-head"><strong>${safeLine(token.name, 100)}</strong></td>
              <td data-label="Begins with"><code>${token.prefix}…</code></td>
              <td data-label="May">${token.scopes.map((scope) => scopeWords[scope]).join(', ')}</td>
              <td data-label="Made" title=${new Date(token.createdAt).toLocaleString()}>
                ${ago(token.createdAt, now)}
              </td>
              <td data-label="Last used">
                ${token.lastUsedAt === undefined ? html`<span class="dim">never</span>` : ago(token.lastUsedAt, now)}
              </td>
              <td data-label="Expires">${expiry(token.expiresAt, now)}</td>
              <td class="c-action">
                <button
                  class="d-button danger"
                  aria-label="Revoke ${safeLine(token.name, 100)}"
                  @click=${() => void this.revoke(token)}
                >
                  Revoke
                </button>
              </td>
            </tr>`,
        )}
      </tbody>
    </table>`;
  }

  private async load(): Promise<void> {
    await this.attempt(async () => {
      this.tokens = await this.shell.client.tokens();
    });
  }

  private async create(event: SubmitEvent): Promise<void> {
    const form = event.target as HTMLFormElement;
    const field = fieldsOf(event);
    const scopes = scopesOf[this.shell.me?.role ?? 'viewer'].filter(
      (scope) => field(`scope-${scope}`) !== '',
    );
    if (scopes.length === 0) {
      this.problem = { message: 'The token could do nothing.', mend: 'Choose at least one right.' };
      return;
    }
    const days = Number(field('days'));
    const done = await this.attempt(async () => {
      const made = await this.shell.client.createToken({
        name: field('name').trim(),
        scopes,
        expiresAt: days === 0 ? null : Date.now() + days * day,
      });
      this.fresh = { name: made.view.name, secret: made.token };
      form.reset();
    });
    if (!done) return;
    await this.load();
    this.querySelector('.d-secret')?.scrollIntoView({ block: 'center' });
  }

  private async revoke({ id, name }: TokenView): Promise<void> {
    const yes = await ask<boolean>({
      title: `Revoke “${safeLine(name, 100)}”?`,
      text: 'Whatever uses it is refused from now on.',
      buttons: [{ label: 'Revoke', value: true, kind: 'danger' }],
    });
    if (yes !== true) return;
    if (await this.attempt(() => this.shell.client.revokeToken(id))) {
      toast('Revoked.');
      await this.load();
    }
  }
}

function expiry(at: number | undefined, now: number): TemplateResult | string {
  if (at === undefined) return 'never';
  if (at <= now) return html`<span class="error-text">expired</span>`;
  const days = Math.ceil((at - now) / day);
  return html`<span title=${new Date(at).toLocaleString()}>in ${days} d</span>`;
}

/** The user's own password and sessions. */
export class AccountPage extends Page {
  static override properties = { ...Page.properties, sessions: { state: true }, wrong: { state: true } };
  declare sessions: SessionView[] | undefined;
  declare wrong: string | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.load();
  }

  override render(): TemplateResult {
    const { me } = this.shell;
    return html`<div class="d-page">
      <h1>Account</h1>
      <p>
        <strong>${safeLine(me?.name ?? '', 100)}</strong>
        <span class="dim">· ${roleWords[me?.role ?? 'viewer']}</span>
      </p>
      ${this.problemBox()}
      <form class="d-form d-box" @submit=${(event: SubmitEvent) => void this.change(event)}>
        <h2>Password</h2>
        <label class="d-field">
          <span>Present password</span>
          <input name="current" type="password" autocomplete="current-password" />
          <small class="dim">Empty when you have none yet.</small>
        </label>
        ${passwordTwice(this.wrong)}
        <div class="d-actions">
          <button class="d-button primary" ?disabled=${this.busy}>Change password</button>
        </div>
      </form>
      <h2>Sessions</h2>
      ${this.list()}
    </div>`;
  }

  private list(): TemplateResult | typeof nothing {
    const { sessions } = this;
    if (sessions === undefined) return this.problem === undefined ? loading('your sessions') : nothing;
    const now = Date.now();
    return html`<table class="d-table">
      <thead>
        <tr>
          <th scope="col">Browser</th>
          <th scope="col">Signed in</th>
          <th scope="col">Last seen</th>
          <th scope="col"><span class="hidden-label">Actions</span></th>
        </tr>
      </thead>
      <tbody>
        ${repeat(
          sessions,
          ({ id }) => id,
          (session) =>
            html`<tr>
              <td class="c-head">
                ${browserOf(session.agent)}
                ${session.current ? html`<span class="d-tag">this one</span>` : nothing}
              </td>
              <td data-label="Signed in" title=${new Date(session.createdAt).toLocaleString()}>
                ${ago(session.createdAt, now)}
              </td>
              <td data-label="Last seen">${ago(session.lastSeenAt, now)}</td>
              <td class="c-action">
                ${session.current ? nothing : html`<button class="d-button danger" @click=${() => void this.end(session.id)}>End</button>`}
              </td>
            </tr>`,
        )}
      </tbody>
    </table>`;
  }

  private async load(): Promise<void> {
    await this.attempt(async () => {
      this.sessions = await this.shell.client.sessions();
    });
  }

  private async end(id: string): Promise<void> {
    if (await this.attempt(() => this.shell.client.endSession(id))) await this.load();
  }

  private async change(event: SubmitEvent): Promise<void> {
    const form = event.target as HTMLFormElement;
    const field = fieldsOf(event);
    const password = field('password');
    this.wrong = passwordProblem(password, field('again'));
    if (this.wrong !== undefined) return;
    const current = field('current');
    const done = await this.attempt(() =>
      this.shell.client.changePassword({ password, ...(current === '' ? {} : { current }) }),
    );
    if (!done) return;
    form.reset();
    toast('The password is changed.');
    await this.load();
  }
}

/** A browser by the name that people give it. What it says of itself is a claim. */
export function browserOf(agent: string): string {
  const browser = /Edg\//.test(agent)
    ? 'Edge'
    : /Firefox\//.test(agent)
      ? 'Firefox'
      : /Chrome\//.test(agent)
        ? 'Chrome'
        : /Safari\//.test(agent)
          ? 'Safari'
          : '';
  if (browser === '') return safeLine(agent, 60) || 'Unknown';
  const system = /Android/.test(agent)
    ? 'Android'
    : /iPhone|iPad/.test(agent)
      ? 'iOS'
      : /Windows/.test(agent)
        ? 'Windows'
        : /Mac OS/.test(agent)
          ? 'macOS'
          : /Linux/.test(agent)
            ? 'Linux'
            : '';
  return system === '' ? browser : `${browser} on ${system}`;
}

const roleWords: Readonly<Record<Role, string>> = {
  admin: 'Administrator',
  member: 'Member',
  viewer: 'Viewer',
};

/** For administrators: who may sign in, and as what. */
export class UsersPage extends Page {
  static override properties = { ...Page.properties, users: { state: true } };
  declare users: UserView[] | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.load();
  }

  override render(): TemplateResult {
    return html`<div class="d-page">
      <h1>Users</h1>
      ${this.problemBox()}
      <form class="d-form d-box" @submit=${(event: SubmitEvent) => void this.create(event)}>
        <h2>New user</h2>
        <div class="d-row">
          <label class="d-field grow">
            <span>Login or e-mail address</span>
            <input
              name="login"
              required
              maxlength="200"
              autocomplete="off"
              autocapitalize="none"
              spellcheck="false"
            />
          </label>
          <label class="d-field grow">
            <span>Name</span>
            <input name="name" maxlength="100" autocomplete="off" />
          </label>
          <label class="d-field">
            <span>Role</span>
            <select name="role">
              <option value="member" selected>Member</option>
              <option value="viewer">Viewer</option>
              <option value="admin">Administrator</option>
            </select>
          </label>
        </div>
        <label class="d-field">
          <span>First password</span>
          <input name="password" type="password" minlength="8" autocomplete="new-password" />
          <small class="dim">Empty for somebody who signs in by e-mail.</small>
        </label>
        <div class="d-actions"><button class="d-button primary" ?disabled=${this.busy}>Add user</button></div>
      </form>
      ${this.list()}
    </div>`;
  }

  private list(): TemplateResult | typeof nothing {
    const { users } = this;
    if (users === undefined) return this.problem === undefined ? loading('the users') : nothing;
    const now = Date.now();
    const me = this.shell.me?.id;
    return html`<table class="d-table">
      <thead>
        <tr>
          <th scope="col">Login</th>
          <th scope="col">Name</th>
          <th scope="col">Role</th>
          <th scope="col">Last seen</th>
          <th scope="col"><span class="hidden-label">Actions</span></th>
        </tr>
      </thead>
      <tbody>
        ${repeat(
          users,
          ({ id }) => id,
          (user) =>
            html`<tr class=${user.disabled ? 'off' : ''}>
              <td class="c-head">
                <strong>${safeLine(user.login, 100)}</strong>
                ${user.id === me ? html`<span class="d-tag">you</span>` : nothing}
                ${user.disabled ? html`<span class="d-tag">disabled</span>` : nothing}
              </td>
              <td data-label="Name">${safeLine(user.name, 100)}</td>
              <td data-label="Role">
                ${
                  user.id === me
                    ? roleWords[user.role]
                    : html`<select
                        aria-label="Role of ${safeLine(user.login, 100)}"
                        @change=${(event: Event) => void this.setRole(user, (event.target as HTMLSelectElement).value as Role)}
                      >
                        ${(['admin', 'member', 'viewer'] as const).map(
                          (role) =>
                            html`<option value=${role} ?selected=${user.role === role}>
                              ${roleWords[role]}
                            </option>`,
                        )}
                      </select>`
                }
              </td>
              <td data-label="Last seen">
                ${user.lastSeenAt === undefined ? html`<span class="dim">never</span>` : ago(user.lastSeenAt, now)}
              </td>
              <td class="c-action">
                ${
                  user.id === me
                    ? nothing
                    : html`<button
                        class="d-button ${user.disabled ? '' : 'danger'}"
                        @click=${() => void this.setDisabled(user, !user.disabled)}
                      >
                        ${user.disabled ? 'Enable' : 'Disable'}
                      </button>`
                }
              </td>
            </tr>`,
        )}
      </tbody>
    </table>`;
  }

  private async load(): Promise<void> {
    await this.attempt(async () => {
      this.users = await this.shell.client.users();
    });
  }

  private async create(event: SubmitEvent): Promise<void> {
    const form = event.target as HTMLFormElement;
    const field = fieldsOf(event);
    const login = field('login').trim().toLowerCase();
    const name = field('name').trim();
    const password = field('password');
    const done = await this.attempt(() =>
      this.shell.client.createUser({
        login,
        ...(name === '' ? {} : { name }),
        role: field('role') as Role,
        ...(password === '' ? {} : { password }),
      }),
    );
    if (!done) return;
    form.reset();
    await this.load();
  }

  private async setRole(user: UserView, role: Role): Promise<void> {
    const done = await this.attempt(() => this.shell.client.changeUser(user.id, { role }));
    if (done) toast(`${safeLine(user.login, 60)} is ${roleWords[role].toLowerCase()} now.`);
    const { problem } = this;
    await this.load();
    if (!done) this.problem = problem;
  }

  private async setDisabled(user: UserView, disabled: boolean): Promise<void> {
    if (disabled) {
      const yes = await ask<boolean>({
        title: `Disable ${safeLine(user.login, 100)}?`,
        text: 'All sessions and tokens of this user end at once. Tasks and commits stay.',
        buttons: [{ label: 'Disable', value: true, kind: 'danger' }],
      });
      if (yes !== true) return;
    }
    if (await this.attempt(() => this.shell.client.changeUser(user.id, { disabled }))) await this.load();
  }
}

/** For administrators: who did what. */
export class AuditPage extends Page {
  static override properties = { ...Page.properties, entries: { state: true }, over: { state: true } };
  declare entries: AuditEntry[] | undefined;
  declare over: boolean;
  private next: number | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.load();
  }

  override render(): TemplateResult {
    const { entries } = this;
    return html`<div class="d-page wide">
      <h1>Audit</h1>
      ${this.problemBox()}
      ${
        entries === undefined
          ? this.problem === undefined
            ? loading('the audit log')
            : nothing
          : entries.length === 0
            ? emptyState('Nothing yet', 'Sign-ins, tokens, users and tasks are written down here.')
            : html`<table class="d-table d-audit">
                <thead>
                  <tr>
                    <th scope="col">Time</th>
                    <th scope="col">Action</th>
                    <th scope="col">User</th>
                    <th scope="col">Subject</th>
                    <th scope="col">Address</th>
                    <th scope="col">Detail</th>
                  </tr>
                </thead>
                <tbody>
                  ${repeat(
                    entries,
                    ({ n }) => n,
                    (entry) =>
                      html`<tr>
                        <td data-label="Time">
                          <span class="nowrap">${new Date(entry.at).toLocaleString()}</span>
                        </td>
                        <td class="c-head"><strong>${safeLine(entry.action, 100)}</strong></td>
                        <td data-label="User">
                          ${safeLine(entry.login ?? entry.user ?? '', 100) || html`<span class="dim">–</span>`}
                        </td>
                        <td data-label="Subject">
                          <span class="d-wrap"
                            >${safeLine(entry.subject, 200) || html`<span class="dim">–</span>`}</span
                          >
                        </td>
                        <td data-label="Address"><code>${safeLine(entry.address, 100)}</code></td>
                        <td data-label="Detail">
                          <span class="d-wrap"
                            >${safeLine(entry.detail, 300) || html`<span class="dim">–</span>`}</span
                          >
                        </td>
                      </tr>`,
                  )}
                </tbody>
              </table>`
      }
      ${
        entries === undefined || entries.length === 0 || this.over
          ? nothing
          : html`<div class="d-pager">
              <button class="d-button" ?disabled=${this.busy} @click=${() => void this.load()}>Older</button>
            </div>`
      }
    </div>`;
  }

  private async load(): Promise<void> {
    await this.attempt(async () => {
      const { entries, next } = await this.shell.client.audit(this.next);
      this.next = next;
      this.over = next === undefined;
      this.entries = [...(this.entries ?? []), ...entries];
    });
  }
}
