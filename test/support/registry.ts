import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Package registries, a git server and pages for sandboxes of the tests, on ports of this machine. */
export class Registry {
  readonly port: number;
  readonly tlsPort: number;
  /** `METHOD path` of each request, in order; those over TLS begin with `https `. */
  readonly seen: string[] = [];
  private readonly folder: string;
  private readonly servers: Server[];

  static async open(host: string): Promise<Registry> {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-registry-'));
    const servers = [createServer(), createTlsServer(certificate(folder, host))];
    const ports = await Promise.all(servers.map(listen));
    return new Registry(host, folder, servers, ports);
  }

  private constructor(host: string, folder: string, servers: Server[], [port, tlsPort]: number[]) {
    if (port === undefined || tlsPort === undefined) throw new Error('A server does not listen');
    this.folder = folder;
    this.servers = servers;
    this.port = port;
    this.tlsPort = tlsPort;
    for (const [index, server] of servers.entries())
      server.on('request', this.listener(index === 0 ? '' : 'https '));
    this.npmPackage(`http://${host}:${port}`);
    this.wheel();
    this.repository();
    writeFileSync(join(folder, 'hello'), 'hello from outside\n');
  }

  close(): void {
    for (const server of this.servers) {
      server.close();
      server.closeAllConnections();
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  private listener(prefix: string): RequestListener {
    return (request: IncomingMessage, response) => {
      const path = new URL(request.url ?? '/', 'http://x').pathname;
      this.seen.push(`${prefix}${request.method ?? ''} ${path}`);
      const file = this.find(path);
      request.resume();
      if (file === undefined) response.writeHead(404).end('not here\n');
      else response.writeHead(200, { 'content-type': typeOf(path) }).end(readFileSync(file));
    };
  }

  private find(path: string): string | undefined {
    for (const file of [join(this.folder, path), join(this.folder, path, 'index')]) {
      if (statSync(file, { throwIfNoEntry: false })?.isFile() === true) return file;
    }
    return undefined;
  }

  private npmPackage(base: string): void {
    const name = 'sallyport-demo';
    const made = join(this.folder, 'npm', name);
    mkdirSync(join(this.folder, 'package'));
    mkdirSync(made, { recursive: true });
    const manifest = { name, version: '1.0.0' };
    writeFileSync(join(this.folder, 'package', 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(this.folder, 'package', 'index.js'), 'module.exports = "from npm";\n');
    execFileSync('tar', ['-czf', join(made, 'demo.tgz'), '-C', this.folder, 'package']);
    const version = { ...manifest, dist: { tarball: `${base}/npm/${name}/demo.tgz` } };
    const packument = { name, 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': version } };
    writeFileSync(join(made, 'index'), JSON.stringify(packument));
  }

  private wheel(): void {
    const index = join(this.folder, 'simple', 'sallyport-demo');
    mkdirSync(index, { recursive: true });
    const file = 'sallyport_demo-1.0-py3-none-any.whl';
    const script = `import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as z:
    d = "sallyport_demo-1.0.dist-info/"
    z.writestr("sallyport_demo.py", "x = 1\\n")
    z.writestr(d + "METADATA", "Metadata-Version: 2.1\\nName: sallyport-demo\\nVersion: 1.0\\n")
    z.writestr(d + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr(d + "RECORD", "")
`;
    execFileSync('python3', ['-c', script, join(index, file)]);
    writeFileSync(join(index, 'index'), `<!DOCTYPE html><a href="${file}">${file}</a>\n`);
  }

  /** Served as files: what git reads over plain HTTP without a program at the other end. */
  private repository(): void {
    const [work, bare] = [join(this.folder, 'work'), join(this.folder, 'demo.git')];
    const identity = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.com'];
    execFileSync('git', ['init', '-q', '-b', 'main', work]);
    execFileSync('git', ['-C', work, ...identity, 'commit', '-q', '--allow-empty', '-m', 'Hello']);
    execFileSync('git', ['clone', '-q', '--bare', work, bare]);
    execFileSync('git', ['-C', bare, 'update-server-info']);
  }
}

function certificate(folder: string, host: string): { key: Buffer; cert: Buffer } {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`];
  const made = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', ...made, ...subject], { stdio: 'ignore' });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('The server does not listen');
  return address.port;
}

function typeOf(path: string): string {
  if (path.startsWith('/simple/') && !path.endsWith('.whl')) return 'text/html';
  return path.startsWith('/npm/') && !path.endsWith('.tgz') ? 'application/json' : 'application/octet-stream';
}
