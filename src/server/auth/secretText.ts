import { createHash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

/** 256 bits of chance in 43 characters that fit a URL, a header and a cookie. */
export function randomText(): string {
  return randomBytes(32).toString('base64url');
}

/** An id for what is no secret. */
export function randomId(): string {
  return randomBytes(9).toString('hex');
}

/**
 * What is stored of a secret: its SHA-256. That is enough for texts of 256 bits of chance, which nobody can try through;
 * passwords are another matter (passwords.ts).
 */
export function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** Compares two texts of any length, in a time that says nothing of where they differ. */
export function sameText(one: string, other: string): boolean {
  const [a, b] = [one, other].map((text) => createHash('sha256').update(text).digest());
  return a !== undefined && b !== undefined && timingSafeEqual(a, b);
}

/** A key for one purpose, of 32 bytes, so that what is made for one thing is worth nothing for another. */
export function keyFor(purpose: string, secretKey: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', secretKey, '', `sallyport ${purpose}`, 32));
}
