import { html, nothing, type TemplateResult } from 'lit';
import { type AuthState, minPasswordLength } from '../../src/protocol/accounts.ts';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import { icon } from '../task/icons.ts';
import { editorOf } from './editors.ts';
import { fieldsOf, link, loading, Page } from './page.ts';

/** A narrow page before anybody is signed in. */
function card(title: string, content: TemplateResult): TemplateResult {
  return html`<div class="d-entry">
    <div class="d-card">
      <img src="/assets/icon.svg" width="44" height="44" alt="" />
      <h1>${title}</h1>
      ${content}
    </div>
  </div>`;
}

/** Makes the first administrator, with the secret that only the server's log has told. */
export class SetupPage extends Page {
  static override properties = { ...Page.properties, secret: { type: String }, wrong: { state: true } };
  declare secret: string;
  declare wrong: string | undefined;

  override render(): TemplateResult {
    return card(
      'Set up this runner',
      html`<p class="dim">
          You become its administrator. This works once, with the link from the log of the server.
        </p>
        <form class="d-form" @submit=${(event: SubmitEvent) => void this.submit(event)}>
          ${this.problemBox()}
          ${
            this.secret === ''
              ? html`<label class="d-field">
                  <span>Set-up secret, from the log of the server</span>
                  <input name="secret" required autocomplete="off" spellcheck="false" />
                </label>`
              : nothing
          }
          <label class="d-field">
            <span>Login</span>
            <input
              name="login"
              required
              maxlength="254"
              autocomplete="username"
              autocapitalize="none"
              spellcheck="false"
              placeholder="ada or ada@example.com"
            />
          </label>
          <label class="d-field">
            <span>Name, as others see it</span>
            <input name="name" maxlength="100" autocomplete="name" placeholder="Ada" />
          </label>
          ${passwordTwice(this.wrong)}
          <div class="d-actions">
            <button class="d-button primary" ?disabled=${this.busy}>
              ${this.busy ? 'Setting up…' : 'Create administrator'}
            </button>
          </div>
        </form>`,
    );
  }

  private async submit(event: SubmitEvent): Promise<void> {
    const field = fieldsOf(event);
    const password = field('password');
    this.wrong = passwordProblem(password, field('again'));
    if (this.wrong !== undefined) return;
    const login = field('login').trim();
    const done = await this.attempt(async () => {
      const { client } = this.shell;
      const secret = this.secret === '' ? field('secret').trim() : this.secret;
      const name = field('name').trim();
      await client.setUp({ secret, login, password, ...(name === '' ? {} : { name }) });
    });
    if (done) await this.shell.signedIn('');
  }
}

/** The two fields of a new password. */
export function passwordTwice(wrong: string | undefined): TemplateResult {
  return html`<label class="d-field">
      <span>Password</span>
      <input
        name="password"
        type="password"
        required
        minlength=${minPasswordLength}
        autocomplete="new-password"
      />
      <small class="dim">At least ${minPasswordLength} characters.</small>
    </label>
    <label class="d-field">
      <span>Password again</span>
      <input
        name="again"
        type="password"
        required
        autocomplete="new-password"
        aria-invalid=${wrong !== undefined}
      />
      ${wrong === undefined ? nothing : html`<small class="error-text" role="alert">${wrong}</small>`}
    </label>`;
}

/** Why it cannot be the new password, before the server is asked. */
export function passwordProblem(password: string, again: string): string | undefined {
  if (password.length < minPasswordLength)
    return `The password needs at least ${minPasswordLength} characters.`;
  return password === again ? undefined : 'The two passwords differ.';
}

/** All ways in which one can sign in here. */
export class SigninPage extends Page {
  static override properties = {
    ...Page.properties,
    next: { type: String },
    state: { state: true },
    mailed: { state: true },
  };
  declare next: string;
  declare state: AuthState | undefined;
  /** The address to which a link was sent. */
  declare mailed: string | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.attempt(async () => {
      this.state = await this.shell.client.authState();
    });
  }

  override render(): TemplateResult {
    const { state } = this;
    if (state === undefined && this.problem === undefined)
      return html`<div class="d-entry">${loading('the sign-in')}</div>`;
    if (state?.needsSetUp === true) {
      return card(
        'This runner is new',
        html`<p>
          Nobody can sign in yet. Open the set-up link that the server wrote to its log when it started; it
          makes the first administrator.
        </p>`,
      );
    }
    return card(
      'Sign in',
      html`${this.problemBox()} ${state?.ways.password === false ? nothing : this.passwordForm()}
      ${state?.ways.github === true ? this.github() : nothing}
      ${state?.ways.magicLink === true ? this.mail() : nothing}`,
    );
  }

  private passwordForm(): TemplateResult {
    return html`<form class="d-form" @submit=${(event: SubmitEvent) => void this.submit(event)}>
      <label class="d-field">
        <span>Login</span>
        <input
          name="login"
          required
          autofocus
          maxlength="254"
          autocomplete="username"
          autocapitalize="none"
          spellcheck="false"
        />
      </label>
      <label class="d-field">
        <span>Password</span>
        <input name="password" type="password" required autocomplete="current-password" />
      </label>
      <div class="d-actions">
        <button class="d-button primary" ?disabled=${this.busy}>
          ${this.busy ? 'Signing in…' : 'Sign in'}
        </button>
      </div>
    </form>`;
  }

  private github(): TemplateResult {
    return html`<div class="d-or"><span>or</span></div>
      <a class="d-button block" href="/auth/github?${new URLSearchParams({ next: this.next })}"
        >Sign in with GitHub</a
      >`;
  }

  private mail(): TemplateResult {
    if (this.mailed !== undefined) {
      return html`<div class="d-notice" role="status">
        ${icon('check')}
        <div>
          When <strong>${safeLine(this.mailed, 200)}</strong> may sign in here, a link is on its way. Open it
          in this browser within 10 minutes.
        </div>
      </div>`;
    }
    return html`<div class="d-or"><span>or</span></div>
      <form class="d-form" @submit=${(event: SubmitEvent) => void this.sendLink(event)}>
        <label class="d-field">
          <span>E-mail address</span>
          <input name="email" type="email" required autocomplete="email" placeholder="ada@example.com" />
        </label>
        <div class="d-actions">
          <button class="d-button" ?disabled=${this.busy}>Send me a link</button>
        </div>
      </form>`;
  }

  private async submit(event: SubmitEvent): Promise<void> {
    const field = fieldsOf(event);
    const done = await this.attempt(() =>
      this.shell.client.signIn({ login: field('login').trim(), password: field('password') }),
    );
    if (done) await this.shell.signedIn(this.next);
    else this.querySelector<HTMLInputElement>('input[name="password"]')?.select();
  }

  private async sendLink(event: SubmitEvent): Promise<void> {
    const email = fieldsOf(event)('email').trim();
    await this.attempt(async () => {
      await this.shell.client.mailLink({ email, next: this.next });
      this.mailed = email;
    });
  }
}

/** Asks whether an editor may have a token of whoever is signed in. */
export class ConnectPage extends Page {
  static override properties = {
    ...Page.properties,
    callback: { type: String },
    challenge: { type: String },
    state: { type: String },
    name: { type: String },
    done: { state: true },
  };
  declare callback: string;
  declare challenge: string;
  declare state: string;
  declare name: string;
  declare done: 'granted' | 'refused' | undefined;

  override render(): TemplateResult {
    const { me } = this.shell;
    const who = editorOf(this.callback);
    if (who === undefined || this.challenge === '') {
      return card(
        'This link is not complete',
        html`<p>
          It does not come from an editor that this runner knows. In VS Code run
          <em>Sallyport: Connect to Runner</em> again.
        </p>`,
      );
    }
    if (this.done === 'granted') {
      return card(
        'Go on in your editor',
        html`<p>
            The editor was told. If it did not come to the front, allow your browser to open it and try again.
          </p>
          <p>
            You can close this page, or
            ${link(this.shell, { page: 'tasks' }, '/dashboard', 'look at the tasks')}.
          </p>`,
      );
    }
    if (this.done === 'refused') {
      return card('Not connected', html`<p>Nothing was granted. You can close this page.</p>`);
    }
    return card(
      'Connect an editor?',
      html`${this.problemBox()}
        <p>
          <strong>${safeLine(this.name, 80) || 'An editor'}</strong> <span class="dim">(${who})</span> asks
          for access to this runner as <strong>${safeLine(me?.name ?? '', 80)}</strong>.
        </p>
        <ul class="d-list">
          <li>
            It can see and start
            tasks${me?.role === 'viewer' ? ' as far as you may: you may look' : ', answer their questions, and take over their commits'}.
          </li>
          <li>It gets a token of its own, which you can revoke under Tokens at any time.</li>
          <li>It does not learn your password, and gets no right that you do not have.</li>
        </ul>
        <p class="dim">Say yes only if you have just asked for it in your editor, on this machine.</p>
        <details class="d-details">
          <summary>Where the answer goes</summary>
          <code class="d-wrap">${safeText(this.callback)}</code>
        </details>
        <div class="d-actions">
          <button class="d-button" ?disabled=${this.busy} @click=${() => (this.done = 'refused')}>No</button>
          <button class="d-button primary" ?disabled=${this.busy} @click=${() => void this.grant()}>
            Connect
          </button>
        </div>`,
    );
  }

  private async grant(): Promise<void> {
    await this.attempt(async () => {
      const { callback, challenge, state, name } = this;
      const asked = { callback, challenge, state, name: name.trim().slice(0, 100) || 'Editor' };
      const { redirect } = await this.shell.client.grant(asked);
      // Only where the server has just said that it is an editor or this machine.
      if (editorOf(redirect) === undefined) throw new TypeError('The server leads elsewhere.');
      this.done = 'granted';
      location.assign(redirect);
    });
  }
}
