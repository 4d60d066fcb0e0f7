import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { keyed } from 'lit/directives/keyed.js';
import { safeLine } from '../../src/protocol/safeText.ts';
import { icon, type IconName } from '../task/icons.ts';
import { Api, ApiError, told } from './api.ts';
import { Client } from './client.ts';
import { Live, type Me, type Socket } from './live.ts';
import { link, loading, problemBox, type Shell } from './page.ts';
import { home, isPublic, ownPath, pathOf, type Place, placeOf } from './paths.ts';
import type { OneTaskPage } from './taskPage.ts';

interface NavItem {
  place: Place & { page: 'tasks' | 'new' | 'tokens' | 'users' | 'audit' | 'account' };
  label: string;
  icon: IconName;
  for: (me: Me) => boolean;
}

const everybody = (): boolean => true;
const admins = ({ role }: Me): boolean => role === 'admin';
const nav: readonly NavItem[] = [
  { place: { page: 'tasks' }, label: 'Tasks', icon: 'list', for: everybody },
  { place: { page: 'new' }, label: 'New task', icon: 'plus', for: ({ role }) => role !== 'viewer' },
  { place: { page: 'tokens' }, label: 'Tokens', icon: 'key', for: everybody },
  { place: { page: 'users' }, label: 'Users', icon: 'people', for: admins },
  { place: { page: 'audit' }, label: 'Audit', icon: 'clock', for: admins },
  { place: { page: 'account' }, label: 'Account', icon: 'person', for: everybody },
];

const titles: Readonly<Record<Place['page'], string>> = {
  setup: 'Set up',
  signin: 'Sign in',
  connect: 'Connect an editor',
  tasks: 'Tasks',
  new: 'New task',
  task: 'Task',
  tokens: 'API tokens',
  account: 'Account',
  users: 'Users',
  audit: 'Audit',
  unknown: 'Not found',
};

/** The dashboard: who is signed in, which page is shown, and the stream that all pages live on. */
export class Dashboard extends LitElement implements Shell {
  static override properties = {
    place: { state: true },
    me: { state: true },
    known: { state: true },
    trouble: { state: true },
  };
  declare place: Place;
  declare me: Me | undefined;
  /** It is known whether anybody is signed in. */
  declare known: boolean;
  declare trouble: { message: string; mend: string } | undefined;
  readonly client: Client;
  readonly live: Live;
  private drawing = 0;
  private ticking: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    const api = new Api();
    this.client = new Client(api);
    api.onSignedOut = () => this.signedOut();
    this.live = new Live(openStream, async () => {
      try {
        await this.client.me();
        return true;
      } catch (thrown) {
        return !(thrown instanceof ApiError) || thrown.status !== 401;
      }
    });
    this.live.onChange = () => this.changed();
    this.live.onSignedOut = () => this.signedOut();
    this.place = placeOf(new URL(location.href));
    this.known = false;
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener('popstate', () => this.arrive());
    window.addEventListener('hashchange', () => this.arrive());
    window.addEventListener('online', () => this.live.hurry());
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.live.hurry();
    });
    // A secret in the address is out of it as soon as it is read.
    if (this.place.page === 'setup' && location.hash !== '') history.replaceState(null, '', '/setup');
    void this.begin();
  }

  go(place: Place): void {
    this.goTo(pathOf(place));
  }

  goTo(path: string): void {
    if (path !== location.pathname + location.search) history.pushState(null, '', path);
    this.arrive();
    window.scrollTo(0, 0);
  }

  async signedIn(next: string): Promise<void> {
    await this.begin(next === '' ? home : ownPath(next));
  }

  async signOut(): Promise<void> {
    try {
      await this.client.signOut();
    } catch (thrown) {
      if (!(thrown instanceof ApiError) || thrown.status !== 401) {
        this.trouble = told(thrown);
        return;
      }
    }
    this.live.stop();
    this.me = undefined;
    history.replaceState(null, '', '/signin');
    this.arrive();
  }

  private async begin(next?: string): Promise<void> {
    this.trouble = undefined;
    if (next === undefined && isPublic(this.place)) {
      this.known = true;
      return;
    }
    try {
      const { id, name, role } = await this.client.me();
      this.me = { id, name, role };
      this.known = true;
      this.live.start();
      if (next !== undefined) history.replaceState(null, '', next);
      this.arrive();
    } catch (thrown) {
      if (thrown instanceof ApiError && thrown.status === 401) this.signedOut();
      else this.trouble = told(thrown);
    }
  }

  /** The session is over, or there never was one. */
  private signedOut(): void {
    this.known = true;
    if (isPublic(this.place)) return;
    this.live.stop();
    this.me = undefined;
    const next = ownPath(location.pathname + location.search);
    history.replaceState(null, '', pathOf({ page: 'signin', next }));
    this.arrive();
  }

  private arrive(): void {
    const place = placeOf(new URL(location.href));
    // The set-up secret is kept in this page only.
    if (place.page === 'setup' && place.secret === '' && this.place.page === 'setup') return;
    this.place = place;
    document.title = `${titles[place.page]} · Sallyport`;
  }

  private changed(): void {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.requestUpdate();
      this.querySelector<LitElement>('sallyport-tasks')?.requestUpdate();
      this.querySelector<OneTaskPage>('sallyport-one-task')?.tasksChanged();
    });
    // A page in the background draws no frames, and is up to date when it comes back.
    clearInterval(this.ticking);
    if (this.live.connection === 'lost') this.ticking = setInterval(() => this.requestUpdate(), 1000);
  }

  protected override updated(): void {
    document.title = this.titleOfPage();
  }

  private titleOfPage(): string {
    const { place } = this;
    const task = place.page === 'task' ? this.live.tasks.get(place.id)?.title : undefined;
    return `${task === undefined ? titles[place.page] : safeLine(task, 60)} · Sallyport`;
  }

  override render(): TemplateResult {
    if (this.trouble !== undefined && !this.known) {
      return html`<div class="d-entry">
        <div class="d-card">
          ${problemBox(this.trouble)}
          <div class="d-actions">
            <button class="d-button primary" @click=${() => void this.begin()}>Try again</button>
          </div>
        </div>
      </div>`;
    }
    const { place } = this;
    if (place.page === 'setup')
      return html`<sallyport-setup .shell=${this} .secret=${place.secret}></sallyport-setup>`;
    if (place.page === 'signin')
      return html`<sallyport-signin .shell=${this} .next=${place.next}></sallyport-signin>`;
    if (!this.known || this.me === undefined)
      return html`<div class="d-entry">${loading('the dashboard')}</div>`;
    if (place.page === 'connect') {
      return html`<sallyport-connect
        .shell=${this}
        .callback=${place.callback}
        .challenge=${place.challenge}
        .state=${place.state}
        .name=${place.name}
      ></sallyport-connect>`;
    }
    return html`${this.top(this.me)}
      <div class="d-main ${place.page === 'task' ? 'fixed' : ''}" role="main" id="main">
        ${this.connection()} ${this.trouble === undefined ? nothing : problemBox(this.trouble)}
        ${this.content(place)}
      </div>`;
  }

  private top(me: Me): TemplateResult {
    return html`<a
        class="d-skip"
        href="#main"
        @click=${(event: Event) => {
          event.preventDefault();
          this.querySelector<HTMLElement>(
            '#main a, #main button, #main input, #main [tabindex="0"]',
          )?.focus();
        }}
        >Skip to the content</a
      >
      <div class="d-top" role="banner">
        ${link(this, { page: 'tasks' }, home, html`<img src="/assets/icon.svg" width="22" height="22" alt="" /><span>Sallyport</span>`, 'd-brand')}
        <nav class="d-nav" aria-label="Pages">
          ${nav
            .filter((item) => item.for(me))
            .map(({ place, label, icon: name }) => {
              const current =
                place.page === this.place.page || (place.page === 'tasks' && this.place.page === 'task');
              return html`<a
                href=${pathOf(place)}
                aria-current=${current ? 'page' : nothing}
                @click=${(event: MouseEvent) => {
                  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
                  event.preventDefault();
                  this.go(place);
                }}
                >${icon(name)}<span>${label}</span></a
              >`;
            })}
        </nav>
        <span class="d-user">
          <span class="dim d-user-name">${safeLine(me.name, 40)}</span>
          <button class="d-button" @click=${() => void this.signOut()}>Sign out</button>
        </span>
      </div>`;
  }

  private connection(): TemplateResult | typeof nothing {
    const { connection, nextAttempt } = this.live;
    if (connection === 'stale') {
      return html`<div class="d-lost" role="status">
        ${icon('info')}<span>The runner is of a newer version than this page.</span>
        <button class="d-button" @click=${() => location.reload()}>Reload</button>
      </div>`;
    }
    if (connection !== 'lost') return nothing;
    const seconds = Math.max(0, Math.ceil((nextAttempt - Date.now()) / 1000));
    return html`<div class="d-lost" role="status">
      ${icon('warning')}
      <span
        >The connection to the runner is lost. What you see may be old; tasks go on without you.
        <span class="dim" aria-hidden="true"
          >${seconds > 0 ? `Trying again in ${seconds} s.` : 'Trying again…'}</span
        ></span
      >
      <button class="d-button" @click=${() => this.live.hurry()}>Try now</button>
    </div>`;
  }

  private content(place: Place): TemplateResult {
    switch (place.page) {
      case 'tasks':
        return html`<sallyport-tasks .shell=${this}></sallyport-tasks>`;
      case 'new':
        return html`<sallyport-new .shell=${this}></sallyport-new>`;
      case 'task':
        return html`${keyed(place.id, html`<sallyport-one-task .shell=${this} .task=${place.id}></sallyport-one-task>`)}`;
      case 'tokens':
        return html`<sallyport-tokens .shell=${this}></sallyport-tokens>`;
      case 'account':
        return html`<sallyport-account .shell=${this}></sallyport-account>`;
      case 'users':
        return html`<sallyport-users .shell=${this}></sallyport-users>`;
      case 'audit':
        return html`<sallyport-audit .shell=${this}></sallyport-audit>`;
      default:
        return html`<div class="d-page">
          <div class="d-empty">
            <h2>There is no such page</h2>
            <p>The address may be cut off.</p>
            ${link(this, { page: 'tasks' }, home, 'All tasks', 'd-button')}
          </div>
        </div>`;
    }
  }
}

function openStream(): Socket {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return new WebSocket(`${scheme}//${location.host}/api/v1/stream`) as Socket;
}
