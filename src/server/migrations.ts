/** In order; what stands here once is never changed, only added to. Times are milliseconds since the epoch. */
export const migrations: readonly string[] = [
  `
  CREATE TABLE users (
    id TEXT PRIMARY KEY,
    login TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('admin', 'member', 'viewer')),
    password TEXT,
    github_id TEXT UNIQUE,
    disabled INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER
  ) STRICT;
  CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    agent TEXT NOT NULL
  ) STRICT;
  CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    scopes TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('named', 'single')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
  ) STRICT;
  CREATE INDEX sessions_by_user ON sessions (user);
  CREATE INDEX tokens_by_user ON tokens (user);
  CREATE TABLE magic_links (
    hash TEXT PRIMARY KEY,
    browser TEXT NOT NULL,
    email TEXT NOT NULL,
    next TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
  ) STRICT;
  CREATE TABLE audit (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    user TEXT,
    login TEXT,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
  ) STRICT;
  CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT;
  CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES users (id),
    shared INTEGER NOT NULL,
    stage TEXT NOT NULL,
    priority INTEGER NOT NULL,
    submission TEXT NOT NULL,
    finding TEXT,
    problem TEXT,
    pushed_branch TEXT,
    pull_request TEXT,
    retry_of TEXT,
    url TEXT,
    pushed_commit TEXT,
    fetched TEXT,
    finds TEXT,
    removing INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX tasks_by_owner ON tasks (owner, id);
  CREATE TABLE idempotency (
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    task TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (user, key)
  ) STRICT;
  CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    repository TEXT NOT NULL,
    name TEXT NOT NULL,
    sha TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    complete INTEGER NOT NULL DEFAULT 0,
    touched_at INTEGER NOT NULL
  ) STRICT;
  `,
];
