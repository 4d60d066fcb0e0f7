import type { ServerConfig } from '../config.ts';
import { isLoopbackName } from './readConfig.ts';

export interface ReportLine {
  what: string;
  state: 'ok' | 'off' | 'warning';
  detail: string;
}

/** What was found out of the surroundings before the start. */
export interface Found {
  url: string;
  engine: string | undefined;
  credential: string | undefined;
  tasks: number;
  users: number;
  isRoot: boolean;
}

/** What is configured and what is missing, for the server's log. Never a secret. */
export function startReport(config: ServerConfig, found: Found): ReportLine[] {
  const { mail, github, forge, otherForges = [], queue, limits, retentionMs, tls } = config;
  const giga = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return [
    { what: 'address', ...exposure(config, found.url) },
    line(
      'TLS',
      tls !== undefined || config.publicUrl.startsWith('https:'),
      tls === undefined ? 'by the proxy' : tls.certFile,
      'none: only this machine is served',
    ),
    { what: 'data', state: 'ok', detail: `${config.dataFolder}, ${found.tasks} tasks, ${found.users} users` },
    found.engine === undefined
      ? { what: 'engine', state: 'warning', detail: 'no container engine answers; tasks wait for one' }
      : { what: 'engine', state: 'ok', detail: found.engine },
    found.credential === undefined
      ? {
          what: 'model',
          state: 'warning',
          detail: 'no credential for a model; set CLAUDE_CODE_OAUTH_TOKEN or ANTHROPIC_API_KEY',
        }
      : { what: 'model', state: 'ok', detail: found.credential },
    {
      what: 'queue',
      state: 'ok',
      detail: `${queue.parallel} at a time, ${giga(queue.memoryBytes)}; ${limits.workMs / 60_000} minutes for a task, ${limits.findingMs / 60_000} to find its repository`,
    },
    line(
      'forge',
      forge !== undefined || otherForges.length > 0,
      [...(forge === undefined ? [] : [forge]), ...otherForges]
        .map(({ webUrl }) => `${webUrl}, with a token`)
        .join('; '),
      'no token (GITHUB_TOKEN and others): public repositories by URL only, no push',
    ),
    line(
      'sign-in by mail',
      mail !== undefined,
      `${mail?.kind ?? ''}, from ${mail?.from ?? ''}; ${mailAccess(config)}`,
      'not set up (SMTP_URL or RESEND_API_KEY)',
    ),
    line(
      'sign-in with GitHub',
      github !== undefined,
      [...(github?.allowedUsers ?? []), ...(github?.allowedOrganizations ?? [])].join(', '),
      'not set up (GITHUB_CLIENT_ID)',
    ),
    line(
      'retention',
      retentionMs !== undefined,
      `${Math.round((retentionMs ?? 0) / 86_400_000)} days after the end`,
      'tasks are kept until somebody removes them',
    ),
    ...(found.isRoot
      ? [{ what: 'user', state: 'warning' as const, detail: 'the server runs as root, and does not need to' }]
      : []),
  ];
}

export function reportText(lines: readonly ReportLine[]): string {
  const marks = { ok: '✔', off: '–', warning: '!' };
  const width = Math.max(...lines.map(({ what }) => what.length));
  return lines
    .map(({ what, state, detail }) => `  ${marks[state]} ${what.padEnd(width)}  ${detail}\n`)
    .join('');
}

function line(what: string, on: boolean, detail: string, without: string): ReportLine {
  return on ? { what, state: 'ok', detail } : { what, state: 'off', detail: without };
}

function mailAccess({ allowedEmails, allowedDomains }: ServerConfig): string {
  const all = [...allowedEmails, ...allowedDomains.map((domain) => `@${domain}`)];
  return all.length === 0 ? 'known users only' : all.join(', ');
}

function exposure(config: ServerConfig, url: string): Omit<ReportLine, 'what'> {
  const { host, tls, publicUrl } = config;
  const open = !isLoopbackName(host) && tls === undefined && publicUrl.startsWith('http:');
  const detail = url === publicUrl ? url : `${url}, known as ${publicUrl}`;
  if (!open) return { state: 'ok', detail };
  return {
    state: 'warning',
    detail: `${detail}; it listens on ${host} without TLS and answers only to that name: publish the port on 127.0.0.1 only`,
  };
}
