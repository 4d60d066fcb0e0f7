import * as http from 'node:http';
import * as https from 'node:https';
import { isIP } from 'node:net';
import type { Disposable } from '../base/disposable.ts';
import { isAbort, SallyportError } from '../base/errors.ts';
import { safeLine, safeText } from '../protocol/safeText.ts';
import { PktReader } from './pktLine.ts';
import { addressesOf, hostOf, portOf, readRemoteUrl, type RemoteUrl, type Resolve } from './remoteUrl.ts';

/**
 * Git's own protocol over HTTP ("smart HTTP", version 0, which every server speaks), spoken by this process: so that the
 * address that was checked is the one that is connected to, a redirect leads nowhere else, what comes is counted, and a
 * credential is in no process's arguments, environment or files.
 */

/** For one forge's repositories, and shown to nobody else. */
export interface GitCredential {
  /** `https://example.com`: scheme, host and port have to be those of the repository. */
  origin: string;
  user: string;
  password: string;
}

export interface RemoteOptions {
  url: string;
  credential?: GitCredential | undefined;
  /** Hosts (egress rules, or addresses) that may be in private networks, and be spoken to without TLS. */
  privateHosts: readonly string[];
  signal: AbortSignal;
  /** For tests: names and their addresses. */
  resolve?: Resolve;
}

export type GitService = 'git-upload-pack' | 'git-receive-pack';

/** What a server says that it has. */
export interface Advertisement {
  /** Object names of HEAD and of the branches, by ref. */
  refs: ReadonlyMap<string, string>;
  /** The ref that HEAD stands for, where the server says so. */
  head?: string;
  capabilities: ReadonlySet<string>;
}

/** How long a server may be silent, in milliseconds. */
const silentMs = 60_000;
const maxBranches = 200_000;
/** Of all kinds: a forge has two for each pull request that ever was. */
const maxRefs = 3_000_000;
const maxRedirects = 3;
/** How much of what a server says is kept, in characters. */
const maxWords = 2000;

export class GitRemote implements Disposable {
  private place: RemoteUrl;
  private readonly options: RemoteOptions;
  private readonly agent: http.Agent;

  private constructor(options: RemoteOptions, place: RemoteUrl, addresses: readonly string[]) {
    this.options = options;
    this.place = place;
    const settings = { keepAlive: true, lookup: pinned(addresses) };
    this.agent = place.base.protocol === 'https:' ? new https.Agent(settings) : new http.Agent(settings);
  }

  /** Reads the address and checks where it leads; connects to nothing. Throws `invalid_input`, `repository_unreachable`. */
  static async open(options: RemoteOptions): Promise<GitRemote> {
    const place = readRemoteUrl(options.url, options.privateHosts);
    return new GitRemote(options, place, await addressesOf(place, options.resolve));
  }

  get host(): string {
    return this.place.base.host;
  }

  /** Whether a credential is shown there. */
  get hasCredential(): boolean {
    const { credential } = this.options;
    return credential !== undefined && originOf(credential.origin) === this.place.base.origin;
  }

  /** Asks what there is. Throws `repository_not_found`, `repository_unreachable`, `push_refused`. */
  async advertisement(service: GitService): Promise<Advertisement> {
    let url = new URL(`${this.place.base.href}/info/refs?service=${service}`);
    for (let redirects = 0; ; redirects++) {
      const answer = await this.send('GET', url, {});
      const status = answer.statusCode ?? 0;
      if (status >= 300 && status < 400) {
        answer.destroy();
        url = this.redirected(url, answer.headers.location ?? '', service, redirects);
        continue;
      }
      if (status !== 200) {
        answer.destroy();
        throw this.refused(status, service);
      }
      if (answer.headers['content-type'] !== `application/x-${service}-advertisement`) {
        answer.destroy();
        throw new SallyportError(
          'repository_not_found',
          `${this.host} has a page at this address, and no git repository.`,
          'Give the address that "git clone" takes.',
        );
      }
      this.place = { ...this.place, base: new URL(url.href.slice(0, url.href.lastIndexOf('/info/refs'))) };
      return await this.told(() => readAdvertisement(answer, service));
    }
  }

  /** Sends a request of the service's; resolves with the stream of the answer. A short body's length is told. */
  async ask(service: GitService, body: Buffer | AsyncIterable<Uint8Array>): Promise<http.IncomingMessage> {
    const answer = await this.send(
      'POST',
      new URL(`${this.place.base.href}/${service}`),
      { 'content-type': `application/x-${service}-request`, accept: `application/x-${service}-result` },
      body,
    );
    const status = answer.statusCode ?? 0;
    if (status === 200 && answer.headers['content-type'] === `application/x-${service}-result`) return answer;
    answer.destroy();
    throw this.refused(status, service);
  }

  /** Runs what reads an answer; what breaks off or is no answer is told as such. */
  async told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw this.problem(thrown);
    }
  }

  dispose(): void {
    this.agent.destroy();
  }

  private send(
    method: 'GET' | 'POST',
    url: URL,
    headers: http.OutgoingHttpHeaders,
    body?: Buffer | AsyncIterable<Uint8Array>,
  ): Promise<http.IncomingMessage> {
    const { credential, signal } = this.options;
    if (url.origin !== this.place.base.origin) throw new Error('A request to another host');
    const authorization =
      credential !== undefined && this.hasCredential
        ? `Basic ${Buffer.from(`${credential.user}:${credential.password}`).toString('base64')}`
        : undefined;
    return this.told(
      () =>
        new Promise((resolve, reject) => {
          const request = (url.protocol === 'https:' ? https : http).request({
            agent: this.agent,
            host: hostOf(url),
            port: portOf(url),
            method,
            path: `${url.pathname}${url.search}`,
            signal,
            headers: {
              host: url.host,
              'user-agent': 'git/2.39 (sallyport)',
              'accept-encoding': 'identity',
              ...headers,
              ...(authorization === undefined ? {} : { authorization }),
              ...(Buffer.isBuffer(body) ? { 'content-length': body.length } : {}),
            },
          });
          request.setTimeout(silentMs, () => request.destroy(new Error('it did not answer in time')));
          request.once('response', resolve);
          request.on('error', reject);
          if (body === undefined || Buffer.isBuffer(body)) request.end(body);
          else void feed(request, body).catch((thrown: unknown) => request.destroy(thrown as Error));
        }),
    );
  }

  /** Where a server sends us on to: only to another path of its own. */
  private redirected(from: URL, location: string, service: GitService, redirects: number): URL {
    const to = location !== '' && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
    const good =
      to !== undefined &&
      redirects < maxRedirects &&
      to.origin === from.origin &&
      to.username === '' &&
      to.password === '' &&
      to.pathname.endsWith('/info/refs') &&
      to.search === `?service=${service}`;
    if (good) return to;
    const where = to === undefined || to.host === from.host ? '' : ` to ${safeLine(to.host, 100)}`;
    throw new SallyportError(
      'repository_unreachable',
      `${this.host} sends us on${where}, which is not followed.`,
      'Give the address where the repository is now.',
    );
  }

  private refused(status: number, service: GitService): SallyportError {
    const shown = this.hasCredential;
    if (service === 'git-receive-pack' && (status === 401 || status === 403)) {
      return new SallyportError(
        'push_refused',
        `${this.host} lets nobody push there with this credential (HTTP ${status}).`,
        shown
          ? "Give the runner's forge token the right to write contents of this repository."
          : 'Give the runner a token for this forge.',
      );
    }
    if (status === 401 || status === 403 || status === 404) {
      return new SallyportError(
        'repository_not_found',
        `${this.host} has no such repository, or does not show it${shown ? ' to this credential' : ' without a credential'} (HTTP ${status}).`,
        shown
          ? "Check the address, and that the runner's forge token may read the repository."
          : 'Check the address. For a private repository the runner needs a token of its forge.',
      );
    }
    return new SallyportError(
      'repository_unreachable',
      `${this.host} answered with HTTP ${status}.`,
      'Try again later; the status of the forge may say more.',
    );
  }

  private problem(thrown: unknown): unknown {
    if (thrown instanceof SallyportError) return thrown;
    if (this.options.signal.aborted || isAbort(thrown))
      return new SallyportError('cancelled', 'Cancelled.', 'Start it again when you like.', {
        cause: thrown,
      });
    const { code, message } = thrown as NodeJS.ErrnoException;
    return new SallyportError(
      'repository_unreachable',
      `The repository at ${this.host} could not be reached: ${safeLine(code ?? message, 200)}.`,
      "Check the address and the runner's network, then try again.",
      { cause: thrown },
    );
  }
}

function originOf(text: string): string | undefined {
  return URL.canParse(text) ? new URL(text).origin : undefined;
}

/** Gives the addresses that were checked, whatever the name stands for by now. */
function pinned(addresses: readonly string[]): http.AgentOptions['lookup'] {
  const all = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_host, options, done) => {
    const fitting = all.filter(({ family }) => !options.family || family === options.family);
    const [first] = fitting;
    if (first === undefined) done(Object.assign(new Error('No address'), { code: 'ENOTFOUND' }), '', 4);
    else if (options.all === true) done(null, fitting);
    else done(null, first.address, first.family);
  };
}

async function feed(request: http.ClientRequest, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (request.destroyed) return;
    if (!request.write(chunk)) {
      await new Promise<void>((resolve) => {
        const go = (): void => {
          request.off('drain', go);
          request.off('close', go);
          resolve();
        };
        request.on('drain', go);
        request.on('close', go);
      });
    }
  }
  request.end();
}

async function readAdvertisement(
  answer: AsyncIterable<Uint8Array>,
  service: GitService,
): Promise<Advertisement> {
  const reader = new PktReader(answer);
  const refs = new Map<string, string>();
  const capabilities = new Set<string>();
  let count = 0;
  try {
    let line = await reader.next();
    if (line !== 'flush' && line !== 'end' && line.toString().startsWith(`# service=${service}`)) {
      await reader.next();
      line = await reader.next();
    }
    for (; line !== 'flush' && line !== 'end'; line = await reader.next()) {
      const [text = '', found] = line.toString('utf8').replace(/\n$/, '').split('\0');
      if (text.startsWith('ERR ')) throw new Error(`it said: ${safeLine(text.slice(4), 300)}`);
      for (const capability of found?.split(' ') ?? []) capabilities.add(capability);
      const [, sha, name] = /^([0-9a-f]{40}|[0-9a-f]{64}) (\S+)$/.exec(text) ?? [];
      if (sha === undefined || name === undefined) throw new Error('its list of branches cannot be read');
      if (++count > maxRefs) throw new Error(`it has more than ${maxRefs} refs`);
      if (name !== 'HEAD' && !name.startsWith('refs/heads/')) continue;
      refs.set(name, sha);
      if (refs.size > maxBranches) throw new Error(`it has more than ${maxBranches} branches`);
    }
  } finally {
    await reader.leave();
  }
  if (capabilities.has('object-format=sha256')) {
    throw new SallyportError(
      'unsupported_repository',
      'The repository names its objects by SHA-256, which Sallyport does not.',
      'Take a repository with SHA-1 names.',
    );
  }
  const head = [...capabilities].find((one) => one.startsWith('symref=HEAD:'))?.slice('symref=HEAD:'.length);
  return { refs, capabilities, ...(head === undefined ? {} : { head }) };
}

/** What a server says to people, and what of an answer is data: the parts of a side band. */
export class SideBand {
  private said = '';
  private readonly reader: PktReader;

  constructor(reader: PktReader) {
    this.reader = reader;
  }

  /** What it said so far, fit to be shown. */
  get words(): string {
    return safeText(this.said.replace(/\r/g, '\n'))
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .join('\n');
  }

  /** The data. Lines before it that are none go to `other`. */
  async *data(other: (line: string) => void): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const line = await this.reader.next();
      if (line === 'flush' || line === 'end') return;
      const band = line[0];
      const rest = line.subarray(1);
      if (band === 1) yield rest;
      else if (band === 2) this.said = (this.said + rest.toString('utf8')).slice(-maxWords);
      else if (band === 3)
        throw new Error(`it said: ${safeLine(rest.toString('utf8').replaceAll('\0', ''), 300)}`);
      else other(line.toString('utf8'));
    }
  }
}
