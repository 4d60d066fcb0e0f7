import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { GitRepo, temporaryFolder } from './gitRepo.ts';

/** A real sshd on a loopback port with keys of its own, which takes pushes into repositories of its folder. */
export class SshServer {
  readonly folder: ReturnType<typeof temporaryFolder>;
  readonly port: number;
  private readonly child: ChildProcess;
  /** What sshd has written. */
  log = '';

  private constructor(folder: ReturnType<typeof temporaryFolder>, port: number, child: ChildProcess) {
    this.folder = folder;
    this.port = port;
    this.child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.log += text));
  }

  static async open(): Promise<SshServer> {
    const folder = temporaryFolder();
    const at = (name: string): string => join(folder.path, name);
    for (const name of ['host', 'user', 'stranger']) keyPair(at(name));
    writeFileSync(at('authorized'), readFileSync(at('user.pub')), { mode: 0o600 });
    const port = await freePort();
    writeFileSync(
      at('sshd_config'),
      [
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${at('host')}`,
        `AuthorizedKeysFile ${at('authorized')}`,
        'PidFile none',
        'StrictModes no',
        'UsePAM no',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'PermitRootLogin yes',
        'PrintMotd no',
        '',
      ].join('\n'),
    );
    // Debian's sshd wants this folder when it runs as root.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    const sshd = ['/usr/sbin/sshd', '/usr/bin/sshd'].find((path) => existsSync(path));
    if (sshd === undefined) throw new Error('sshd is not installed: apt-get install openssh-server');
    const child = spawn(sshd, ['-D', '-e', '-f', at('sshd_config')], { stdio: ['ignore', 'ignore', 'pipe'] });
    const server = new SshServer(folder, port, child);
    for (let tries = 0; !(await answers(port)); tries++) {
      if (tries > 1000 || child.exitCode !== null) throw new Error(`sshd does not answer: ${server.log}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    writeFileSync(at('known_hosts'), `[127.0.0.1]:${port} ${readFileSync(at('host.pub'), 'utf8')}`);
    return server;
  }

  url(name: string): string {
    return `ssh://${userInfo().username}@127.0.0.1:${this.port}${join(this.folder.path, `${name}.git`)}`;
  }

  bare(name: string): GitRepo {
    return new GitRepo(join(this.folder.path, `${name}.git`), { bare: true });
  }

  /**
   * The environment of a user of it: with the right key and a host that is known, unless it is said otherwise. Nothing of
   * the machine's own ssh takes part.
   */
  environment({ key = 'user', known = true } = {}): Record<string, string | undefined> {
    const at = (name: string): string => join(this.folder.path, name);
    const nobody = at('nobody-known');
    writeFileSync(nobody, '');
    const command = [
      'ssh -F none',
      `-i ${at(key)} -o IdentitiesOnly=yes -o IdentityAgent=none`,
      `-o UserKnownHostsFile=${known ? at('known_hosts') : nobody} -o GlobalKnownHostsFile=/dev/null`,
    ].join(' ');
    return { ...withoutAgents(), GIT_SSH_COMMAND: command };
  }

  /** The host's key is another from now on, as far as the user's list of known hosts goes. */
  changeKnownKey(): void {
    const other = readFileSync(join(this.folder.path, 'stranger.pub'), 'utf8');
    writeFileSync(join(this.folder.path, 'known_hosts'), `[127.0.0.1]:${this.port} ${other}`);
  }

  async close(): Promise<void> {
    if (this.child.exitCode === null) {
      this.child.kill();
      await once(this.child, 'exit');
    }
    this.folder.dispose();
  }
}

/** An environment in which nothing of the machine's owner answers for git or ssh. */
export function withoutAgents(): Record<string, string | undefined> {
  const { PATH, TMPDIR } = process.env;
  return { PATH, TMPDIR, HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' };
}

function keyPair(path: string): void {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path]);
  chmodSync(path, 0o600);
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
