import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { GitRepo, temporaryFolder } from './gitRepo.ts';

/** What came to the server. */
export interface Seen {
  method: string;
  url: string;
  authorization: string | undefined;
}

/** Git's own HTTP server (`git http-backend`) over loopback, with bare repositories by `owner/name`. */
export class GitServer {
  readonly folder = temporaryFolder();
  readonly seen: Seen[] = [];
  /** `user:password` that every request has to show; nothing is asked for when it is not set. */
  credential: string | undefined;
  /** What may push besides; all who may read, when it is not set. */
  mayPush = true;
  /** Answers in place of git, where it says true. */
  instead: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  private readonly server: Server;

  private constructor(server: Server) {
    this.server = server;
  }

  static async open(address = '127.0.0.1'): Promise<GitServer> {
    const server = createServer((request, response) => opened.handle(request, response));
    const opened = new GitServer(server);
    server.listen(0, address);
    await once(server, 'listening');
    return opened;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** By name, because an address is no name of an egress rule. */
  get origin(): string {
    return `http://localhost:${this.port}`;
  }

  get host(): string {
    return `localhost:${this.port}`;
  }

  url(name: string): string {
    return `${this.origin}/${name}`;
  }

  /** A bare repository that takes pushes. */
  bare(name: string): GitRepo {
    const path = join(this.folder.path, `${name}.git`);
    mkdirSync(path, { recursive: true });
    const repository = new GitRepo(path, { bare: true });
    repository.git('config', 'http.receivepack', 'true');
    return repository;
  }

  /** One with a first commit on main. */
  filled(name: string, files: Record<string, string> = { 'README.md': '# Test\n' }): GitRepo {
    const bare = this.bare(name);
    const work = new GitRepo(join(this.folder.path, 'work', name));
    for (const [path, text] of Object.entries(files)) work.write(path, text);
    work.commit('First');
    work.git('push', '--quiet', bare.path, 'main');
    return bare;
  }

  /** Runs a program of the server's before a push is taken. */
  hook(repository: GitRepo, script: string): void {
    const path = join(repository.path, 'hooks', 'pre-receive');
    mkdirSync(join(repository.path, 'hooks'), { recursive: true });
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
    this.folder.dispose();
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = request;
    this.seen.push({ method, url, authorization: headers.authorization });
    if (this.instead(request, response)) return;
    const { credential } = this;
    const expected = credential && `Basic ${Buffer.from(credential).toString('base64')}`;
    if (expected !== undefined && headers.authorization !== expected) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return;
    }
    const at = new URL(url, 'http://x');
    if (!this.mayPush && `${at.pathname}${at.search}`.includes('git-receive-pack')) {
      response.writeHead(403).end('You may not push.');
      return;
    }
    // A forge takes the address with and without its ending.
    const path = at.pathname.replace(/^\/([^/]+\/[^/]+?)(?:\.git)?(?=\/)/, '/$1.git');
    const child = spawn('git', ['http-backend'], {
      env: {
        PATH: process.env.PATH,
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_PROJECT_ROOT: this.folder.path,
        GIT_HTTP_EXPORT_ALL: '1',
        PATH_INFO: path,
        QUERY_STRING: at.search.slice(1),
        REQUEST_METHOD: method,
        CONTENT_TYPE: headers['content-type'] ?? '',
        ...(headers['content-length'] === undefined ? {} : { CONTENT_LENGTH: headers['content-length'] }),
        REMOTE_USER: 'test',
        REMOTE_ADDR: '127.0.0.1',
      },
    });
    child.stdin.on('error', () => undefined);
    request.pipe(child.stdin);
    let head: Buffer | undefined = Buffer.alloc(0);
    child.stdout.on('data', (chunk: Buffer) => {
      if (head === undefined) {
        response.write(chunk);
        return;
      }
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end === -1) return;
      let status = 200;
      for (const line of head.subarray(0, end).toString().split('\r\n')) {
        const [name = '', value = ''] = line.split(/: (.*)/s);
        if (name === 'Status') status = Number.parseInt(value);
        else response.setHeader(name, value);
      }
      response.writeHead(status);
      response.write(head.subarray(end + 4));
      head = undefined;
    });
    child.stdout.on('end', () => response.end());
  }
}
