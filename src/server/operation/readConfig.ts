import { defaultKeep } from '../../runner/keptSandboxes.ts';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { defaultDataRoot } from '../../runner/dataFolder.ts';
import type { OtherForge, ServerConfig } from '../config.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What the program knows of itself, and the environment cannot say. */
export interface Surroundings {
  distFolder: string;
  containerFolder: string;
  /** Of this machine. */
  memoryBytes?: number;
  cpus?: number;
}

export const defaultPort = 7334;
const minute = 60_000;
const day = 24 * 60 * minute;
const giga = 2 ** 30;
const keyBytes = 32;
/** Values that stand in examples of configurations, and so are known to everybody. */
const known = /^(secret|change-?me.*|password|default|test|example|your-.*|pick-.*|(.)\2*|\$\{.*\})$/i;

/**
 * Reads the configuration from environment variables; one with `_FILE` behind its name is read from the file that it
 * names. Makes the data folder, and in it a key when none is set. Throws `server_misconfigured` with all that is wrong
 * or dangerous at once.
 */
export function readConfig(env: Environment, around: Surroundings): ServerConfig {
  const reader = new Reader(env);
  const dataFolder = reader.text('SALLYPORT_HOME') ?? defaultDataRoot({ ...process.env, ...env });
  const host = reader.text('SALLYPORT_HOST') ?? '127.0.0.1';
  const port = reader.number('SALLYPORT_PORT', 1, 65_535) ?? reader.number('PORT', 1, 65_535) ?? defaultPort;
  const tls = readTls(reader);
  const publicUrl = readPublicUrl(reader, `${tls === undefined ? 'http' : 'https'}://localhost:${port}`);
  const mail = readMail(reader);
  const github = readGithub(reader);
  const forge = readForge(reader);
  const otherForges = readOtherForges(reader);
  const retentionDays = reader.number('SALLYPORT_RETENTION_DAYS', 1, 36_500);
  const keepMinutes =
    reader.number('SALLYPORT_KEEP_MINUTES', 0, 10_080) ?? defaultKeep.conversationMs / minute;
  const engine = reader.text('SALLYPORT_ENGINE');
  const engineTls = readEngineTls(reader);
  const memory = around.memoryBytes ?? totalmem();
  // An agent waits for its model most of the time.
  const parallel = Math.max(2, (around.cpus ?? availableParallelism()) * 2);
  const trustedProxies = reader.list('SALLYPORT_TRUSTED_PROXIES');
  const config: ServerConfig = {
    dataFolder,
    host,
    port,
    publicUrl,
    allowedHosts: reader.list('SALLYPORT_ALLOWED_HOSTS').map((name) => name.toLowerCase()),
    trustedProxies,
    ...(tls === undefined ? {} : { tls }),
    secretKey: new Uint8Array(),
    sessionMs: (reader.number('SALLYPORT_SESSION_DAYS', 1 / 24, 365) ?? 7) * day,
    allowedEmails: reader
      .list('ALLOWED_EMAILS', 'SALLYPORT_ALLOWED_EMAILS')
      .map((text) => text.toLowerCase()),
    allowedDomains: reader
      .list('ALLOWED_DOMAINS', 'SALLYPORT_ALLOWED_DOMAINS')
      .map((text) => text.toLowerCase().replace(/^@/, '')),
    ...(mail === undefined ? {} : { mail }),
    ...(github === undefined ? {} : { github }),
    ...(forge === undefined ? {} : { forge }),
    ...(otherForges.length === 0 ? {} : { otherForges }),
    queue: {
      parallel: reader.number('SALLYPORT_PARALLEL', 1, 1000) ?? parallel,
      memoryBytes: (reader.number('SALLYPORT_MEMORY_GIB', 0.25, 100_000) ?? (memory * 0.75) / giga) * giga,
    },
    limits: {
      findingMs: (reader.number('SALLYPORT_FINDING_MINUTES', 1, 10_000) ?? 20) * minute,
      workMs: (reader.number('SALLYPORT_WORK_MINUTES', 1, 10_000) ?? 60) * minute,
    },
    keep: {
      conversationMs: keepMinutes * minute,
      taskMs: 0,
      count: Math.floor(reader.number('SALLYPORT_KEPT_SANDBOXES', 0, 1000) ?? defaultKeep.count),
    },
    ...(retentionDays === undefined ? {} : { retentionMs: retentionDays * day }),
    privateForges: reader.list('SALLYPORT_PRIVATE_FORGES'),
    ...(engine === undefined ? {} : { engine }),
    ...(engineTls === undefined ? {} : { engineTls }),
    distFolder: around.distFolder,
    containerFolder: around.containerFolder,
    demonstration: reader.flag('SALLYPORT_DEMONSTRATION'),
  };
  checkExposure(config, reader);
  const secretText = readSecret(reader);
  reader.throwIfWrong();
  mkdirSync(dataFolder, { recursive: true, mode: 0o700 });
  const secretKey = secretText === undefined ? keptKey(reader, dataFolder) : keyOf(secretText);
  reader.throwIfWrong();
  return { ...config, secretKey };
}

/** Gathers what is wrong, so that all of it is told at once. */
class Reader {
  readonly wrong: string[] = [];
  private readonly env: Environment;

  constructor(env: Environment) {
    this.env = env;
  }

  /** The first of these names that is set, or the content of the file that the name with `_FILE` names. */
  text(...names: string[]): string | undefined {
    for (const name of names) {
      const value = this.env[name]?.trim() ?? '';
      const file = this.env[`${name}_FILE`]?.trim() ?? '';
      if (value !== '' && file !== '')
        this.wrong.push(`${name} and ${name}_FILE are both set; keep one of them`);
      if (value !== '') return unquoted(value);
      if (file === '') continue;
      try {
        return readFileSync(file, 'utf8').trim();
      } catch {
        this.wrong.push(`${name}_FILE names ${file}, which cannot be read`);
      }
    }
    return undefined;
  }

  number(name: string, least: number, most: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (Number.isFinite(value) && value >= least && value <= most) return value;
    this.wrong.push(`${name} is "${text}", and has to be a number from ${least} to ${most}`);
    return undefined;
  }

  list(...names: string[]): string[] {
    return (this.text(...names) ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  }

  flag(name: string): boolean {
    const text = this.text(name);
    if (text === undefined || /^(0|false|no)$/i.test(text)) return false;
    if (/^(1|true|yes)$/i.test(text)) return true;
    this.wrong.push(`${name} is "${text}", and has to be 1 or 0`);
    return false;
  }

  /** An http or https URL without user, query or fragment; no slash at its end. */
  url(name: string): string | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const url = URL.parse(text);
    if (
      url === null ||
      !/^https?:$/.test(url.protocol) ||
      url.username + url.password + url.search + url.hash !== ''
    ) {
      this.wrong.push(`${name} is "${text}", and has to be an address such as https://runner.example.com`);
      return undefined;
    }
    return text.replace(/\/+$/, '');
  }

  throwIfWrong(): void {
    if (this.wrong.length === 0) return;
    throw new SallyportError(
      'server_misconfigured',
      `The runner does not start with this configuration:\n${this.wrong.map((line) => `  - ${line}.`).join('\n')}`,
      'Change what is named; docs/runner.md lists every variable.',
    );
  }
}

/** An env file of a container engine keeps the quotes that a shell takes away. */
function unquoted(value: string): string {
  return /^(["']).*\1$/s.test(value) ? value.slice(1, -1) : value;
}

function readTls(reader: Reader): ServerConfig['tls'] {
  const [certFile, keyFile] = [reader.text('SALLYPORT_TLS_CERT'), reader.text('SALLYPORT_TLS_KEY')];
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined) {
    reader.wrong.push('SALLYPORT_TLS_CERT and SALLYPORT_TLS_KEY belong together, and one of them is missing');
    return undefined;
  }
  for (const file of [certFile, keyFile]) {
    if (!existsSync(file)) reader.wrong.push(`${file} (TLS) is not there`);
  }
  if (existsSync(keyFile) && (statSync(keyFile).mode & 0o004) !== 0) {
    reader.wrong.push(`${keyFile} (TLS key) can be read by every user of this machine; chmod o= it`);
  }
  return { certFile, keyFile };
}

/** PEM, or base64 of it where a variable takes one line only. */
function readEngineTls(reader: Reader): ServerConfig['engineTls'] {
  const pem = (name: string): string | undefined => {
    const text = reader.text(name);
    if (text === undefined) return undefined;
    const plain = text.includes('-----BEGIN ') ? text : Buffer.from(text, 'base64').toString();
    if (!plain.includes('-----BEGIN ')) reader.wrong.push(`${name} is neither PEM nor base64 of it`);
    return `${plain.trim()}\n`;
  };
  const ca = pem('SALLYPORT_ENGINE_CA');
  const cert = pem('SALLYPORT_ENGINE_CERT');
  const key = pem('SALLYPORT_ENGINE_KEY');
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  if (ca === undefined || cert === undefined || key === undefined) {
    reader.wrong.push(
      'SALLYPORT_ENGINE_CA, SALLYPORT_ENGINE_CERT and SALLYPORT_ENGINE_KEY belong together, and one of them is missing',
    );
    return undefined;
  }
  return { ca, cert, key };
}

function readPublicUrl(reader: Reader, otherwise: string): string {
  const text = reader.url('SALLYPORT_PUBLIC_URL');
  if (text === undefined) return otherwise;
  const { origin, pathname } = new URL(text);
  if (pathname !== '/') {
    reader.wrong.push(
      `SALLYPORT_PUBLIC_URL has the path ${pathname}; the runner needs a host name of its own`,
    );
  }
  return origin;
}

function readMail(reader: Reader): ServerConfig['mail'] {
  const [smtp, resend] = [reader.text('SMTP_URL', 'SALLYPORT_SMTP_URL'), reader.text('RESEND_API_KEY')];
  const from = reader.text('EMAIL_FROM', 'SALLYPORT_EMAIL_FROM');
  if (smtp === undefined && resend === undefined) return undefined;
  if (smtp !== undefined && resend !== undefined) {
    reader.wrong.push('SMTP_URL and RESEND_API_KEY are both set; keep one of them');
  }
  if (from === undefined || !/^[^\r\n]*[^\s@]+@[^\s@]+[^\r\n]*$/.test(from)) {
    reader.wrong.push('EMAIL_FROM has to be the address from which sign-in mails come');
    return undefined;
  }
  if (resend !== undefined) {
    const baseUrl = reader.url('RESEND_URL') ?? 'https://api.resend.com';
    return { kind: 'resend', apiKey: resend, from, baseUrl };
  }
  if (!/^smtps?:\/\//.test(smtp ?? '')) {
    reader.wrong.push('SMTP_URL has to be like smtps://user:password@mail.example.com');
  }
  return { kind: 'smtp', url: smtp ?? '', from };
}

function readGithub(reader: Reader): ServerConfig['github'] {
  const clientId = reader.text('GITHUB_CLIENT_ID', 'SALLYPORT_GITHUB_CLIENT_ID');
  const clientSecret = reader.text('GITHUB_CLIENT_SECRET', 'SALLYPORT_GITHUB_CLIENT_SECRET');
  if (clientId === undefined && clientSecret === undefined) return undefined;
  const allowedUsers = reader.list('GITHUB_ALLOWED_USERS').map((name) => name.toLowerCase());
  const allowedOrganizations = reader.list('GITHUB_ALLOWED_ORGS').map((name) => name.toLowerCase());
  if (clientId === undefined || clientSecret === undefined) {
    reader.wrong.push(
      'GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET belong together, and one of them is missing',
    );
    return undefined;
  }
  if (allowedUsers.length + allowedOrganizations.length === 0) {
    reader.wrong.push(
      'sign-in with GitHub is set up and lets everybody in; name who may in GITHUB_ALLOWED_USERS or GITHUB_ALLOWED_ORGS',
    );
  }
  const baseUrl = reader.url('GITHUB_URL') ?? 'https://github.com';
  const apiUrl = reader.url('GITHUB_API_URL') ?? apiOf(baseUrl);
  return { clientId, clientSecret, baseUrl, apiUrl, allowedUsers, allowedOrganizations };
}

function readForge(reader: Reader): ServerConfig['forge'] {
  const token = reader.text('GITHUB_TOKEN', 'GH_TOKEN', 'SALLYPORT_FORGE_TOKEN');
  if (token === undefined) return undefined;
  const webUrl = reader.url('GITHUB_URL') ?? 'https://github.com';
  return { kind: 'github', token, webUrl, apiUrl: reader.url('GITHUB_API_URL') ?? apiOf(webUrl) };
}

function readOtherForges(reader: Reader): OtherForge[] {
  const forges: OtherForge[] = [];
  const gitlab = reader.text('GITLAB_TOKEN');
  if (gitlab !== undefined) {
    const webUrl = reader.url('GITLAB_URL') ?? 'https://gitlab.com';
    const apiUrl = reader.url('GITLAB_API_URL') ?? `${webUrl}/api/v4`;
    forges.push({ kind: 'gitlab', token: gitlab, webUrl, apiUrl });
  }
  const gitea = reader.text('GITEA_TOKEN', 'FORGEJO_TOKEN');
  if (gitea !== undefined) {
    const webUrl = reader.url('GITEA_URL') ?? reader.url('FORGEJO_URL');
    const apiUrl = reader.url('GITEA_API_URL');
    // Nearly everybody has one of their own, and its token is not for whichever stands here.
    if (webUrl === undefined) reader.wrong.push('GITEA_TOKEN needs GITEA_URL, the address of its forge');
    else forges.push({ kind: 'gitea', token: gitea, webUrl, apiUrl: apiUrl ?? `${webUrl}/api/v1` });
  }
  const bitbucket = reader.text('BITBUCKET_TOKEN');
  const user = reader.text('BITBUCKET_USER');
  if (bitbucket !== undefined)
    forges.push({
      kind: 'bitbucket',
      token: bitbucket,
      webUrl: 'https://bitbucket.org',
      apiUrl: 'https://api.bitbucket.org/2.0',
      ...(user === undefined ? {} : { user }),
    });
  return forges;
}

/** An Enterprise server has its API below itself. */
function apiOf(webUrl: string): string {
  return webUrl === 'https://github.com' ? 'https://api.github.com' : `${webUrl}/api/v3`;
}

/** A password on an open line is no protection; so without TLS only this machine is served, or a proxy that has TLS. */
function checkExposure({ host, tls, publicUrl, trustedProxies }: ServerConfig, reader: Reader): void {
  const { protocol, hostname } = new URL(publicUrl);
  if (!isLoopbackName(hostname) && protocol === 'http:') {
    reader.wrong.push(
      `SALLYPORT_PUBLIC_URL is ${publicUrl}: passwords and tokens would go over the network as they are; use https, with SALLYPORT_TLS_CERT and SALLYPORT_TLS_KEY or behind a proxy that has TLS`,
    );
  }
  if (protocol === 'https:' && tls === undefined && trustedProxies.length === 0) {
    reader.wrong.push(
      `SALLYPORT_PUBLIC_URL is ${publicUrl}, and there is neither a certificate (SALLYPORT_TLS_CERT, SALLYPORT_TLS_KEY) nor a proxy that is trusted (SALLYPORT_TRUSTED_PROXIES)`,
    );
  }
  // Another address than the loopback's is right in a container that is published there; the report says so.
  const isPlain = tls === undefined && protocol === 'http:' && isLoopbackName(hostname);
  if (isPlain && !isLoopbackName(host) && isIP(host) === 0)
    reader.wrong.push(`SALLYPORT_HOST is "${host}", and has to be an address such as 127.0.0.1`);
  for (const one of trustedProxies) {
    if (isIP(one.split('/')[0] ?? '') === 0 && !['loopback', 'linklocal', 'uniquelocal'].includes(one)) {
      reader.wrong.push(
        `SALLYPORT_TRUSTED_PROXIES names "${one}", and has to hold addresses or networks such as 10.0.0.0/8`,
      );
    }
  }
}

/** True for names and addresses that lead to this machine only. */
export function isLoopbackName(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  return (
    name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name)
  );
}

const KeyText = z.string().check(z.regex(/^([0-9a-f]{64}|[A-Za-z0-9+/_-]{43}=?)$/i));

function readSecret(reader: Reader): string | undefined {
  const text = reader.text('SALLYPORT_SECRET_KEY', 'SESSION_SECRET');
  if (text !== undefined && (known.test(text) || text.length < keyBytes)) {
    reader.wrong.push(
      'SALLYPORT_SECRET_KEY (or SESSION_SECRET) is an example or too short; make one with: openssl rand -hex 32',
    );
  }
  return text;
}

/** A key as it is; of any other text its hash. */
function keyOf(text: string): Uint8Array {
  if (!KeyText.safeParse(text).success) return createHash('sha256').update(text).digest();
  return Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? 'hex' : 'base64');
}

/** The key of the data folder, made at the first start. */
function keptKey(reader: Reader, dataFolder: string): Uint8Array {
  const path = join(dataFolder, 'secret.key');
  try {
    writeFileSync(path, randomBytes(keyBytes).toString('hex'), { mode: 0o600, flag: 'wx' });
  } catch {
    // It is there from before.
  }
  const kept = KeyText.safeParse(readFileSync(path, 'utf8').trim());
  if (kept.success) return Buffer.from(kept.data, 'hex');
  reader.wrong.push(
    `${path} does not hold a key; restore it from a backup, or remove it and with it all that it encrypts`,
  );
  return new Uint8Array();
}
