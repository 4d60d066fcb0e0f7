import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { SallyportError } from '../../base/errors.ts';
import { notFound } from '../http/problem.ts';

const brotli = promisify(brotliCompress);
const zip = promisify(gzip);

export type Encoding = 'br' | 'gzip' | 'identity';

/** One file as it goes over the wire. */
export interface Asset {
  type: string;
  body: Buffer;
  encoding: Encoding;
  /** Of the content: 16 characters of its SHA-256. */
  hash: string;
}

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
};

/** Pictures are packed already. */
const packed = new Set(['.png']);

interface Known {
  type: string;
  hash: string;
  bodies: Map<Encoding, Promise<Buffer>>;
}

/**
 * The files of the dashboard's bundle, read once and kept, each packed when it is first asked for so. A file that was not
 * there at the start is none.
 */
export class Assets {
  private readonly files: ReadonlyMap<string, Known>;

  private constructor(files: ReadonlyMap<string, Known>) {
    this.files = files;
  }

  /** Throws `server_misconfigured` when there is no bundle. */
  static async read(folder: string): Promise<Assets> {
    const names = await readdir(folder).catch(() => []);
    const files = new Map<string, Known>();
    for (const name of names) {
      const type = types[extname(name)];
      if (type === undefined) continue;
      const body = await readFile(join(folder, name));
      files.set(name, { type, hash: hashOf(body), bodies: new Map([['identity', Promise.resolve(body)]]) });
    }
    if (!files.has('dashboard.js') || !files.has('dashboard.css')) {
      throw new SallyportError(
        'server_misconfigured',
        `The dashboard is not in ${folder}.`,
        'Build it with "npm run build", or install the runner again.',
      );
    }
    return new Assets(files);
  }

  /** The address of a file that changes with its content. */
  address(name: string): string {
    return `/assets/${name}?v=${this.known(name).hash}`;
  }

  /** Throws `not_found`. */
  async get(name: string, accepted: string | undefined): Promise<Asset> {
    const known = this.known(name);
    const encoding = packed.has(extname(name)) ? 'identity' : bestOf(accepted);
    let body = known.bodies.get(encoding);
    if (body === undefined) {
      body = (known.bodies.get('identity') ?? Promise.resolve(Buffer.alloc(0))).then((plain) =>
        pack(plain, encoding),
      );
      known.bodies.set(encoding, body);
    }
    return { type: known.type, hash: known.hash, encoding, body: await body };
  }

  private known(name: string): Known {
    const known = this.files.get(name);
    if (known === undefined) throw notFound('such file');
    return known;
  }
}

export function hashOf(body: Uint8Array | string): string {
  return createHash('sha256').update(body).digest('hex').slice(0, 16);
}

/** Small enough, and packed in a few milliseconds. */
export function pack(plain: Buffer, encoding: Encoding): Promise<Buffer> {
  if (encoding === 'br') return brotli(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } });
  return encoding === 'gzip' ? zip(plain, { level: 9 }) : Promise.resolve(plain);
}

/** What a client takes, by its `Accept-Encoding`. */
export function bestOf(accepted: string | undefined): Encoding {
  const weights = new Map(
    (accepted ?? '').split(',').map((part) => {
      const [name = '', ...parameters] = part
        .trim()
        .toLowerCase()
        .split(/\s*;\s*/);
      const q = parameters.find((parameter) => parameter.startsWith('q='));
      return [name, q === undefined ? 1 : Number(q.slice(2))];
    }),
  );
  const takes = (name: string): boolean => (weights.get(name) ?? weights.get('*') ?? 0) > 0;
  return takes('br') ? 'br' : takes('gzip') ? 'gzip' : 'identity';
}
