import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { digestOf, keyFor } from './secretText.ts';

const nonceBytes = 12;
const tagBytes = 16;
const form = /^v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]+)$/;

/**
 * Secrets that the server has to read again are kept as AES-256-GCM: `v1.<id of the key>.<nonce, text and tag>`. The
 * purpose is sealed in, so that what was sealed for one place cannot be put into another. What an older key has sealed
 * can still be opened when that key is given too.
 */
export class SecretBox {
  private readonly keys: readonly { id: string; key: Buffer }[];

  /** @param secretKeys the first seals, all of them open */
  constructor(secretKeys: readonly Uint8Array[]) {
    this.keys = secretKeys.map((secretKey) => ({
      id: digestOf(keyFor('key id', secretKey).toString('hex')).slice(0, 8),
      key: keyFor('secret box', secretKey),
    }));
  }

  seal(purpose: string, text: string): string {
    const [first] = this.keys;
    if (first === undefined) throw new Error('A secret box needs a key.');
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', first.key, nonce).setAAD(Buffer.from(purpose));
    const sealed = [nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
    return `v1.${first.id}.${Buffer.concat(sealed).toString('base64url')}`;
  }

  /** Undefined for what was not sealed with a known key for this purpose, or was changed since. */
  open(purpose: string, sealed: string): string | undefined {
    const [, id, text = ''] = form.exec(sealed) ?? [];
    const known = this.keys.find((key) => key.id === id);
    const bytes = Buffer.from(text, 'base64url');
    if (known === undefined || bytes.length < nonceBytes + tagBytes) return undefined;
    const decipher = createDecipheriv('aes-256-gcm', known.key, bytes.subarray(0, nonceBytes), {
      authTagLength: tagBytes,
    });
    decipher.setAAD(Buffer.from(purpose)).setAuthTag(bytes.subarray(-tagBytes));
    try {
      const opened = decipher.update(bytes.subarray(nonceBytes, -tagBytes));
      return Buffer.concat([opened, decipher.final()]).toString('utf8');
    } catch {
      return undefined;
    }
  }
}
