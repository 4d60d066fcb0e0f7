/**
 * Keeps the shell of the dashboard, so that it opens at once, and says itself that the runner cannot be reached. Nothing
 * of anybody's is kept: no answer of the API, and no page but the one that is the same for everybody.
 */

interface WorkerEvent {
  waitUntil(done: Promise<unknown>): void;
}
interface FetchEvent extends WorkerEvent {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}
interface Worker {
  addEventListener(type: 'install' | 'activate', listener: (event: WorkerEvent) => void): void;
  addEventListener(type: 'fetch', listener: (event: FetchEvent) => void): void;
  skipWaiting(): Promise<void>;
  readonly location: Location;
}
const worker = globalThis as unknown as Worker;

const store = 'sallyport-shell-1';
const shell = '/dashboard';
/** Files of the shell that are kept; of more the oldest go. */
const maxFiles = 150;

worker.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(store);
      const page = await fetch(shell, { credentials: 'omit', cache: 'no-cache' });
      if (!page.ok) throw new Error('There is no shell.');
      await keep(cache, page);
      await worker.skipWaiting();
    })(),
  );
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name !== store) await caches.delete(name);
    })(),
  );
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname, search } = new URL(request.url);
  if (request.method !== 'GET' || origin !== worker.location.origin) return;
  if (request.mode === 'navigate') {
    if (/^\/(dashboard(\/|$)|connect$|signin$)/.test(pathname)) event.respondWith(page(event));
  } else if (pathname.startsWith('/assets/')) {
    event.respondWith(isImmutable(pathname, search) ? asset(request) : newest(request));
  }
});

/** With a name or a version that changes with the content. */
function isImmutable(pathname: string, search: string): boolean {
  return /\?v=/.test(search) || /-[A-Z0-9]{8}\.js$/.test(pathname);
}

/** What the server has; what was kept only where it does not answer. */
async function page(event: FetchEvent): Promise<Response> {
  const cache = await caches.open(store);
  const kept = await cache.match(shell);
  try {
    const answer = await fetch(event.request);
    // It is the same page at every address; another one came with another version of the server.
    const isShell = answer.ok && !answer.redirected && answer.headers.has('etag');
    if (isShell && answer.headers.get('etag') !== kept?.headers.get('etag'))
      event.waitUntil(keep(cache, answer.clone()).catch(() => undefined));
    return answer;
  } catch (thrown) {
    if (kept === undefined) throw thrown;
    return kept;
  }
}

/** Of a file whose address stays the same, whichever there is of it. */
async function newest(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (thrown) {
    const kept = await (await caches.open(store)).match(request, { ignoreSearch: true });
    if (kept === undefined) throw thrown;
    return kept;
  }
}

async function asset(request: Request): Promise<Response> {
  const cache = await caches.open(store);
  const kept = await cache.match(request);
  if (kept !== undefined) return kept;
  const answer = await fetch(request);
  if (answer.ok) {
    await cache.put(request, answer.clone());
    await prune(cache);
  }
  return answer;
}

/** The page, and the files that it names. */
async function keep(cache: Cache, answer: Response): Promise<void> {
  const text = await answer.clone().text();
  await cache.put(shell, answer);
  const named = [...text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, path]) => path ?? '');
  await Promise.all(
    [...new Set(named)].map(async (path) => {
      if ((await cache.match(path)) === undefined) await cache.add(path);
    }),
  );
  await prune(cache);
}

async function prune(cache: Cache): Promise<void> {
  const keys = await cache.keys();
  const files = keys.filter(({ url }) => new URL(url).pathname !== shell);
  for (const old of files.slice(0, Math.max(0, files.length - maxFiles))) await cache.delete(old);
}
