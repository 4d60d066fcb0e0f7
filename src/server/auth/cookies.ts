import { createHmac } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServerConfig } from '../config.ts';
import { keyFor, sameText } from './secretText.ts';

/** The session; a browser in which somebody has signed in before; the one that asked for a link; a sign-in under way. */
export type CookieName = 'sallyport' | 'sallyport-device' | 'sallyport-browser' | 'sallyport-github';

/** Longer than all that this server sets. */
const maxHeader = 16_384;
/** Values are of these, so that they stand in a header as they are. */
const grammar = /^[A-Za-z0-9._-]*$/;

/**
 * Cookies of the server: signed (each name with a key of its own), out of the reach of scripts, and not sent along by
 * other sites' forms. Over https they bear `__Host-`, so that no neighbouring host can set one.
 */
export class Cookies {
  private readonly config: Pick<ServerConfig, 'publicUrl' | 'tls' | 'secretKey'>;
  private readonly keys = new Map<CookieName, Buffer>();

  constructor(config: Pick<ServerConfig, 'publicUrl' | 'tls' | 'secretKey'>) {
    this.config = config;
  }

  /** The value, when the server itself has signed it. */
  read(request: FastifyRequest, name: CookieName): string | undefined {
    const { cookie } = request.headers;
    if (cookie === undefined || cookie.length > maxHeader) return undefined;
    const start = `${this.fullName(name)}=`;
    const pair = cookie
      .split(';')
      .map((part) => part.trim())
      .find((part) => part.startsWith(start));
    const signed = pair?.slice(start.length) ?? '';
    const value = signed.slice(0, Math.max(0, signed.lastIndexOf('.')));
    return value !== '' && sameText(signed, this.sign(name, value)) ? value : undefined;
  }

  set(reply: FastifyReply, name: CookieName, value: string, lifeMs: number): void {
    if (!grammar.test(value)) throw new Error('A cookie cannot hold that.');
    this.send(reply, name, this.sign(name, value), Math.floor(lifeMs / 1000));
  }

  clear(reply: FastifyReply, name: CookieName): void {
    this.send(reply, name, '', 0);
  }

  private send(reply: FastifyReply, name: CookieName, value: string, maxAge: number): void {
    const secure = this.secure() ? '; Secure' : '';
    void reply.header(
      'set-cookie',
      `${this.fullName(name)}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax${secure}`,
    );
  }

  private fullName(name: CookieName): string {
    return this.secure() ? `__Host-${name}` : name;
  }

  private secure(): boolean {
    return this.config.tls !== undefined || this.config.publicUrl.startsWith('https:');
  }

  private sign(name: CookieName, value: string): string {
    const key = this.keys.get(name) ?? keyFor(`cookie ${name}`, this.config.secretKey);
    this.keys.set(name, key);
    return `${value}.${createHmac('sha256', key).update(value).digest('base64url')}`;
  }
}
