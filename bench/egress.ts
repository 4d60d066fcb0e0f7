import { execFile, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Section, Tools } from './lib/measure.ts';
import { mega, median, ms, p95, ratio } from './lib/numbers.ts';

const host = 'host.example.com';
/** What a line of a gigabit carries, in bytes a second. */
const goal = 125e6;

const run = promisify(execFile);

/** A download through the egress proxy, against a direct one. */
export async function egress(tools: Tools): Promise<Section> {
  const bytes = tools.quick ? 50e6 : 200e6;
  const rounds = tools.quick ? 3 : 9;
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-bench-'));
  const parts: ChildProcess[] = [];
  const part = async (...args: string[]): Promise<number[]> => {
    const child = fork(new URL('lib/egressParts.ts', import.meta.url), args);
    parts.push(child);
    const [ports] = (await once(child, 'message')) as [number[]];
    return ports;
  };
  try {
    const [plain = 0, secure = 0] = await part('web', host);
    const socketPath = join(folder, 'proxy.sock');
    await part('proxy', socketPath, `${host}:${plain}`, `${host}:${secure}`);
    const [relay = 0] = await part('relay', socketPath);

    const curl = async (url: string, ...way: string[]): Promise<number> => {
      const { stdout } = await run('curl', [
        ...[
          '-sS',
          '-k',
          '--max-time',
          '120',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code} %{size_download} %{time_total}',
        ],
        ...way,
        url,
      ]);
      const [status, size, seconds] = stdout.split(' ').map(Number);
      if (status !== 200 || size !== bytes) throw new Error(`The download went wrong: ${stdout}`);
      return (seconds ?? Number.NaN) * 1000;
    };
    const direct = [
      '--noproxy',
      '*',
      '--resolve',
      `${host}:${plain}:127.0.0.1`,
      '--resolve',
      `${host}:${secure}:127.0.0.1`,
    ];
    const proxied = ['--noproxy', '', '--proxy', `http://127.0.0.1:${relay}`];
    const urls = { plain: `http://${host}:${plain}/${bytes}`, tunnel: `https://${host}:${secure}/${bytes}` };
    const times = {
      plain: [] as number[],
      plainDirect: [] as number[],
      tunnel: [] as number[],
      tunnelDirect: [] as number[],
    };
    for (let round = 0; round < rounds; round++) {
      tools.say(`Download, round ${round + 1} of ${rounds}`);
      times.plainDirect.push(await curl(urls.plain, ...direct));
      times.plain.push(await curl(urls.plain, ...proxied));
      times.tunnelDirect.push(await curl(urls.tunnel, ...direct));
      times.tunnel.push(await curl(urls.tunnel, ...proxied));
    }
    const speed = (values: readonly number[]): number => (bytes / median(values)) * 1000;
    const row = (what: string, values: readonly number[], peer: readonly number[]): string[] => [
      what,
      ms(median(values)),
      ms(p95(values)),
      `${mega(speed(values))} MB/s`,
      ratio(median(values), median(peer)),
    ];
    return {
      title: 'Egress proxy',
      how: [
        `\`curl\` loads ${mega(bytes)} MB, directly and through the supervisor’s relay and the gateway’s proxy, as a program ` +
          `in a sandbox does; plain HTTP, and HTTPS in a tunnel; ${rounds} rounds in turns. Server, proxy and relay are ` +
          'a process each, all on the loopback of this machine, so that nothing but the processors limits either way: ' +
          'curl, server, relay and proxy share them. Names and addresses are decided as always, but for the loopback, ' +
          'which counts as public here.',
      ],
      tables: [
        {
          head: [`Download of ${mega(bytes)} MB`, 'median', 'p95', 'speed', 'of the direct one'],
          rows: [
            row('plain HTTP, direct', times.plainDirect, times.plainDirect),
            row('plain HTTP, through the proxy', times.plain, times.plainDirect),
            row('HTTPS, direct', times.tunnelDirect, times.tunnelDirect),
            row('HTTPS, in a tunnel through the proxy', times.tunnel, times.tunnelDirect),
          ],
        },
      ],
      targets: (['plain', 'tunnel'] as const).map((kind) => ({
        what: `Download through the egress proxy, ${kind === 'plain' ? 'plain HTTP' : 'tunnel'}`,
        target: `≥ ${mega(goal)} MB/s, more than a gigabit line`,
        measured: `${mega(speed(times[kind]))} MB/s, ${ratio(median(times[kind]), median(times[`${kind}Direct`]))} the time of a direct one`,
        met: speed(times[kind]) >= goal,
      })),
    };
  } finally {
    for (const child of parts) child.kill();
    await rm(folder, { recursive: true, force: true });
  }
}
