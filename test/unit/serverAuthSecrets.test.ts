import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { SallyportError } from '../../src/base/errors.ts';
import { type CookieName, Cookies } from '../../src/server/auth/cookies.ts';
import { Passwords, wasmArgon2 } from '../../src/server/auth/passwords.ts';
import { SecretBox } from '../../src/server/auth/secretBox.ts';
import { digestOf, randomText, sameText } from '../../src/server/auth/secretText.ts';

describe('secrets at rest', () => {
  const box = new SecretBox([randomBytes(32)]);

  it('come back as they were, for the same purpose and no other', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (purpose, other, text) => {
        const sealed = box.seal(purpose, text);
        assert.equal(box.open(purpose, sealed), text);
        if (other !== purpose) assert.equal(box.open(other, sealed), undefined);
      }),
    );
  });

  it('do not come back when anything of them was changed, cut or made up', () => {
    const sealed = box.seal('p', 'the secret');
    fc.assert(
      fc.property(fc.nat(sealed.length - 1), fc.stringMatching(/^[A-Za-z0-9_-]{1,3}$/), (place, other) => {
        const changed = sealed.slice(0, place) + other + sealed.slice(place + 1);
        // Two texts in base64 can stand for the same bytes.
        const same = (text: string): string =>
          text.replace(/[^.]*$/, (last) => Buffer.from(last, 'base64url').toString('hex'));
        if (same(changed) !== same(sealed)) assert.equal(box.open('p', changed), undefined);
        assert.equal(box.open('p', sealed.slice(0, place)), undefined);
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => box.open('p', text) === undefined));
  });

  it('never look the same twice, and hold nothing of the text', () => {
    assert.notEqual(box.seal('p', 'aaaa'), box.seal('p', 'aaaa'));
    const bytes = Buffer.from(box.seal('p', 'marker-marker').split('.')[2] ?? '', 'base64url');
    assert.equal(bytes.includes('marker'), false);
  });

  it('are opened with an older key while that is named, and not without it', () => {
    const [older, newer] = [randomBytes(32), randomBytes(32)];
    const sealed = new SecretBox([older]).seal('p', 'text');
    assert.equal(new SecretBox([newer, older]).open('p', sealed), 'text');
    assert.equal(new SecretBox([newer]).open('p', sealed), undefined);
  });
});

describe('secret texts', () => {
  it('are of 256 bits, and all different', () => {
    const texts = new Set(Array.from({ length: 1000 }, randomText));
    assert.equal(texts.size, 1000);
    for (const text of texts) assert.equal(Buffer.from(text, 'base64url').length, 32);
  });

  it('are the same only when they are', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => sameText(a, b) === (a === b) && sameText(a, a)),
    );
    assert.match(digestOf('a'), /^[0-9a-f]{64}$/);
  });
});

describe('cookies', () => {
  const secretKey = randomBytes(32);
  const plain = { publicUrl: 'http://localhost:1', secretKey };
  const secure = { publicUrl: 'https://runner.example.com', secretKey };
  const lines: string[] = [];
  const reply = { header: (_name: string, value: string) => lines.push(value) } as unknown as FastifyReply;
  const reading = (cookie: string): FastifyRequest => ({ headers: { cookie } }) as unknown as FastifyRequest;
  const setBy = (cookies: Cookies, name: CookieName, value: string): string => {
    cookies.set(reply, name, value, 60_000);
    return lines.pop() ?? '';
  };

  it('are kept from scripts and other sites, and over https from neighbouring hosts', () => {
    assert.match(
      setBy(new Cookies(plain), 'sallyport', 'abc'),
      /^sallyport=abc\.[\w-]{43}; Path=\/; Max-Age=60; HttpOnly; SameSite=Lax$/,
    );
    assert.match(
      setBy(new Cookies(secure), 'sallyport', 'abc'),
      /^__Host-sallyport=abc\.[\w-]{43}; Path=\/; Max-Age=60; HttpOnly; SameSite=Lax; Secure$/,
    );
  });

  it('are read among others, only under their own name, and only as they were signed', () => {
    const cookies = new Cookies(plain);
    const [pair = ''] = setBy(cookies, 'sallyport', 'abc').split(';');
    assert.equal(cookies.read(reading(`a=b; ${pair}; c=d`), 'sallyport'), 'abc');
    assert.equal(
      cookies.read(reading(pair.replace('sallyport', 'sallyport-device')), 'sallyport-device'),
      undefined,
    );
    assert.equal(new Cookies(secure).read(reading(pair), 'sallyport'), undefined);
    assert.equal(
      new Cookies({ ...plain, secretKey: randomBytes(32) }).read(reading(pair), 'sallyport'),
      undefined,
    );
    fc.assert(
      fc.property(fc.nat(pair.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (place, sign) => {
        const changed = pair.slice(0, place) + sign + pair.slice(place + 1);
        fc.pre(changed.trim() !== pair && changed !== pair);
        return cookies.read(reading(changed), 'sallyport') === undefined;
      }),
    );
    fc.assert(fc.property(fc.string(), (header) => cookies.read(reading(header), 'sallyport') === undefined));
  });
});

describe('passwords', () => {
  const passwords = new Passwords();

  it('are hashed with argon2id, each time with another salt', async () => {
    const [one, other] = await Promise.all([
      passwords.hash('correct horse'),
      passwords.hash('correct horse'),
    ]);
    assert.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    assert.notEqual(one, other);
    assert.equal(await passwords.verify('correct horse', one), true);
    assert.equal(await passwords.verify('correct horsf', one), false);
    assert.equal(await passwords.verify('', one), false);
  });

  it('have the same hash whether Node.js makes it or the package', async () => {
    const other = new Passwords(wasmArgon2);
    assert.equal(await other.verify('pässwörd ✓', await passwords.hash('pässwörd ✓')), true);
    assert.equal(await passwords.verify('pässwörd ✓', await other.hash('pässwörd ✓')), true);
  });

  it('are the same however a keyboard puts their characters together', async () => {
    assert.equal(await passwords.verify('e\u0301le\u0301phant', await passwords.hash('éléphant')), true);
  });

  it('have at least eight characters, not units of them', async () => {
    for (const short of ['', 'sevench', '😀😀😀😀']) {
      await assert.rejects(
        passwords.hash(short),
        (error) => error instanceof SallyportError && error.code === 'invalid_input',
      );
    }
    await passwords.hash('😀😀😀😀😀😀😀😀');
  });

  it('are hashed by the package as by Node.js when they are empty, and fit nobody', async () => {
    const good = await passwords.hash('correct horse');
    for (const one of [passwords, new Passwords(wasmArgon2)]) assert.equal(await one.verify('', good), false);
  });

  it('fit nobody where there is no hash, and no hash that is none or would cost too much', async () => {
    assert.equal(await passwords.verify('correct horse', undefined), false);
    const good = await passwords.hash('correct horse');
    for (const bad of [
      '',
      'correct horse',
      good.replace('argon2id', 'argon2d'),
      good.replace('m=19456', 'm=9000000'),
      good.slice(0, -1),
    ]) {
      assert.equal(await passwords.verify('correct horse', bad), false, bad);
    }
  });

  it('are hashed two at a time; beyond those that may wait they are refused, and later taken again', async () => {
    let running = 0;
    let most = 0;
    const finish: (() => void)[] = [];
    const slow = new Passwords(async () => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => finish.push(resolve));
      running--;
      return Buffer.alloc(32);
    });
    const all = Array.from({ length: 80 }, () => slow.hash('correct horse'));
    const settled = Promise.allSettled(all);
    for (let done = 0; done < 66;) {
      const next = finish.shift();
      if (next === undefined) await new Promise((resolve) => setImmediate(resolve));
      else {
        next();
        done++;
      }
    }
    const refused = (await settled).filter(({ status }) => status === 'rejected');
    assert.deepEqual([most, refused.length], [2, 14]);
    const later = slow.hash('correct horse');
    finish.shift()?.();
    await later;
  });
});
