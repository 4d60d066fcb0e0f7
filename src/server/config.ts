import type { KeepPolicy } from '../runner/keptSandboxes.ts';

/** All that is set from outside; read once at the start (`operation/readConfig.ts`). Holds secrets: it is never logged. */
export interface ServerConfig {
  /** Root of the data folder: the store, the tasks' logs, the quarantines, uploads. */
  dataFolder: string;
  host: string;
  port: number;
  /** Where browsers reach the server, without a path: `https://runner.example.com`. Links in mails are built from it. */
  publicUrl: string;
  /** `Host` headers that are answered, besides that of `publicUrl` and the loopback names when the server listens there only. */
  allowedHosts: string[];
  /** Addresses or networks of proxies whose `X-Forwarded-*` headers are believed. */
  trustedProxies: string[];
  tls?: { certFile: string; keyFile: string };
  /** Encrypts secrets at rest; 32 bytes. */
  secretKey: Uint8Array;
  /** Of sessions, in milliseconds. */
  sessionMs: number;
  /** Who may get a magic link; both empty: nobody but known users. Lower case. */
  allowedEmails: string[];
  allowedDomains: string[];
  mail?:
    | { kind: 'smtp'; url: string; from: string }
    | { kind: 'resend'; apiKey: string; from: string; baseUrl: string };
  github?: {
    clientId: string;
    clientSecret: string;
    /** `https://github.com`, or an Enterprise server. */
    baseUrl: string;
    apiUrl: string;
    allowedUsers: string[];
    allowedOrganizations: string[];
  };
  /** For cloning, pushing and pull requests, and for what an orchestrator may see. */
  forge?: { kind: 'github'; apiUrl: string; webUrl: string; token: string };
  /** For cloning, pushing and pull requests elsewhere; no orchestrator sees them. */
  otherForges?: OtherForge[];
  queue: { parallel: number; memoryBytes: number };
  limits: { findingMs: number; workMs: number };
  /** How long sandboxes of tasks that are over are kept, stopped, and how many. */
  keep?: KeepPolicy;
  /** Tasks that ended so long ago are removed, in milliseconds; undefined keeps them. */
  retentionMs?: number;
  /** Hosts (as egress rules) in private networks from which repositories may be fetched. */
  privateForges: string[];
  engine?: string;
  /** For an engine at another machine: PEM, for platforms that hand out secrets as variables. */
  engineTls?: { ca: string; cert: string; key: string };
  /** Folders with the bundles, and with the sandbox's recipe. */
  distFolder: string;
  containerFolder: string;
  /** Let the demonstration model answer, even where there is a credential. */
  demonstration: boolean;
}

export interface OtherForge {
  kind: 'gitlab' | 'gitea' | 'bitbucket';
  apiUrl: string;
  webUrl: string;
  token: string;
  /** The e-mail address of a Bitbucket account, where the token is its. */
  user?: string;
}
