import type { Router } from './router.ts';

/** One number of the server's, in Prometheus' terms. */
export interface Metric {
  name: `sallyport_${string}`;
  help: string;
  type: 'counter' | 'gauge';
  /** Now; with labels where there are several. */
  read: () => number | Promise<number> | { labels: Record<string, string>; value: number }[];
}

/** `GET /metrics` in Prometheus' text format. Numbers of all users together, so only an administrator's token may read it. */
export function metricsRoute(router: Router, metrics: readonly Metric[]): void {
  router.add({
    method: 'GET',
    url: '/metrics',
    summary: 'Numbers for Prometheus',
    tag: 'server',
    access: 'admin',
    answer: { type: 'text/plain; version=0.0.4; charset=utf-8' },
    handle: async () => {
      const parts = await Promise.all(metrics.map(textOf));
      return parts.join('');
    },
  });
}

async function textOf({ name, help, type, read }: Metric): Promise<string> {
  const found = await read();
  const rows = Array.isArray(found) ? found : [{ labels: {}, value: found }];
  const lines = rows.map(({ labels, value }) => `${name}${labelText(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function labelText(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(
    ([key, value]) =>
      `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
