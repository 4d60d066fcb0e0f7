import * as crypto from 'node:crypto';
import { argon2id } from 'hash-wasm';
import { SallyportError, isErrno } from '../../base/errors.ts';
import { minPasswordLength } from '../../protocol/accounts.ts';
import { tooMany } from '../http/tooMany.ts';

/** What a hash costs: memory in KiB, passes over it, lanes. */
interface Cost {
  m: number;
  t: number;
  p: number;
}

type Argon2 = (password: Buffer, salt: Buffer, cost: Cost) => Promise<Buffer>;

/** As OWASP has it for argon2id: 19 MiB, two passes. */
const cost: Cost = { m: 19_456, t: 2, p: 1 };
/** A hash from elsewhere, such as a restored backup, must not take the server's memory. */
const most: Cost = { m: 262_144, t: 16, p: 4 };
const tagBytes = 32;
/** Hashes that are made at once, and that may wait for it. */
const parallel = 2;
const queue = 64;
const form =
  /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43})$/;

/** Passwords as argon2id hashes, in the usual text form. */
export class Passwords {
  private running = 0;
  private readonly waiting: (() => void)[] = [];
  private readonly argon2: Argon2;
  /** What a password is held against where there is none, so that this takes as long. */
  private readonly nobody = formOf(cost, crypto.randomBytes(16), crypto.randomBytes(tagBytes));

  constructor(argon2: Argon2 = nativeOrWasm) {
    this.argon2 = argon2;
  }

  /** Throws `invalid_input` for one that is too short, `too_many_requests` when too many wait. */
  async hash(password: string): Promise<string> {
    checkPassword(password);
    const salt = crypto.randomBytes(16);
    return formOf(cost, salt, await this.work(() => this.argon2(bytesOf(password), salt, cost)));
  }

  /** Takes the same time where there is no hash, and is false then. Throws `too_many_requests` when too many wait. */
  async verify(password: string, hash: string | undefined): Promise<boolean> {
    const [, m, t, p, salt, tag] = form.exec(hash ?? this.nobody) ?? [];
    const known: Cost = { m: Number(m), t: Number(t), p: Number(p) };
    if (salt === undefined || tag === undefined || !affordable(known)) return false;
    const made = await this.work(() => this.argon2(bytesOf(password), Buffer.from(salt, 'base64'), known));
    const expected = Buffer.from(tag, 'base64');
    return expected.length === made.length && crypto.timingSafeEqual(expected, made) && hash !== undefined;
  }

  private async work<T>(make: () => Promise<T>): Promise<T> {
    if (this.running >= parallel) {
      if (this.waiting.length >= queue) throw tooMany(1000);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else {
      this.running++;
    }
    try {
      return await make();
    } finally {
      // The place is handed on, or given up.
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}

/** Throws `invalid_input` when it is too short. */
function checkPassword(password: string): void {
  if (Array.from(password).length >= minPasswordLength) return;
  throw new SallyportError(
    'invalid_input',
    `A password has at least ${minPasswordLength} characters.`,
    'Choose a longer one.',
  );
}

/**
 * The same characters are the same password, however a keyboard puts them together. The package hashes no empty text; what
 * stands in for it is too short to be anybody's password.
 */
function bytesOf(password: string): Buffer {
  return Buffer.from(password === '' ? '\0' : password.normalize('NFC'));
}

function affordable({ m, t, p }: Cost): boolean {
  return m >= 8 * p && m <= most.m && t >= 1 && t <= most.t && p >= 1 && p <= most.p;
}

function formOf({ m, t, p }: Cost, salt: Buffer, tag: Buffer): string {
  const text = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
  return `$argon2id$v=19$m=${m},t=${t},p=${p}$${text(salt)}$${text(tag)}`;
}

type Native = (
  algorithm: 'argon2id',
  parameters: Record<'message' | 'nonce', Buffer> &
    Record<'parallelism' | 'tagLength' | 'memory' | 'passes', number>,
  done: (error: Error | null, tag: Buffer) => void,
) => void;

/** Node.js has it from 24.7, and does it beside the event loop; its types do not know it yet. */
const native = (crypto as { argon2?: Native }).argon2;

async function nativeOrWasm(password: Buffer, salt: Buffer, known: Cost): Promise<Buffer> {
  if (native === undefined) return await wasmArgon2(password, salt, known);
  try {
    return await nativeArgon2(native, password, salt, known);
  } catch (thrown) {
    // Built with an OpenSSL that does not have it.
    if (isErrno(thrown, 'ERR_CRYPTO_ARGON2_NOT_SUPPORTED')) return await wasmArgon2(password, salt, known);
    throw thrown;
  }
}

function nativeArgon2(argon2: Native, message: Buffer, nonce: Buffer, { m, t, p }: Cost): Promise<Buffer> {
  const parameters = { message, nonce, parallelism: p, tagLength: tagBytes, memory: m, passes: t };
  return new Promise((resolve, reject) => {
    argon2('argon2id', parameters, (error, tag) => (error === null ? resolve(tag) : reject(error)));
  });
}

/** Holds up the event loop for some 50 ms. */
export async function wasmArgon2(password: Buffer, salt: Buffer, { m, t, p }: Cost): Promise<Buffer> {
  const shape = { parallelism: p, iterations: t, memorySize: m, hashLength: tagBytes };
  return Buffer.from(await argon2id({ password, salt, ...shape, outputType: 'binary' }));
}
