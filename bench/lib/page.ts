import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Section, Table, Tools } from './measure.ts';

/** A page beside the one of all measures. */
export interface PageApart {
  /** On the command line, and in the file's name. */
  name: string;
  title: string;
  /** What is measured, a sentence. */
  about: string;
}

/** A page of measures that need neither an engine nor an editor. */
export async function renderApart(
  tools: Tools,
  { name, title, about }: PageApart,
  sections: readonly Section[],
): Promise<string> {
  const [processor] = cpus();
  const parts = [
    `# ${title}`,
    `Written by \`npm run bench -- ${name}\`; the rest is in [benchmarks.md](benchmarks.md). ${about} Read the ratios: they compare with a floor that was measured in the same run. The times belong to the machine.`,
    `- Machine: ${cpus().length} × ${processor?.model.trim() ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}; Node.js ${process.versions.node}`,
    ...targetsAndSections(sections),
  ];
  return await pretty(tools, `${parts.join('\n\n')}\n`);
}

/** The page with all that was measured in one run. */
export async function renderPage(
  tools: Tools,
  sections: readonly Section[],
  minutes: number,
): Promise<string> {
  const parts = [
    '# Benchmarks',
    'Written by `npm run bench`; do not edit. Everything here comes from one run on one machine, on the real parts: ' +
      'Docker, the sandbox image with supervisor, gateway and the Claude Code command line before a scripted model, ' +
      'the extension in the extension host of a VS Code server, the task panel in Chromium. Read the ratios: they ' +
      'compare with a floor or a peer that was measured in the same run. The times belong to the machine.',
    bullets(await machine(tools, minutes)),
    ...targetsAndSections(sections),
  ];
  return await pretty(tools, `${parts.join('\n\n')}\n`);
}

function targetsAndSections(sections: readonly Section[]): string[] {
  const targets = sections.flatMap((section) => section.targets);
  return [
    '## Targets',
    table({
      head: ['What', 'Target', 'Measured', ''],
      rows: targets.map(({ what, target, measured, met }) => [
        what,
        target,
        measured,
        met ? 'met' : '**not met**',
      ]),
    }),
    ...sections.flatMap((section) => [`## ${section.title}`, ...section.how, ...section.tables.map(table)]),
  ];
}

function table({ head, rows }: Table): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '--:'))), ...rows.map(line)].join(
    '\n',
  );
}

function bullets(lines: readonly string[]): string {
  return lines.map((line) => `- ${line}`).join('\n');
}

async function machine({ root, engine, image }: Tools, minutes: number): Promise<string[]> {
  const { connectEngine } = await import('../../src/engine/connect.ts');
  const connected = await connectEngine({ setting: engine });
  const { kind, version, platform } = connected.info;
  connected.dispose();
  const packages = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const codeServer = JSON.parse(readFileSync(join(root, 'tools', 'code-server', 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const agent = /CLAUDE_CODE_VERSION=(\S+)/.exec(
    readFileSync(join(root, 'container', 'Dockerfile'), 'utf8'),
  )?.[1];
  const [processor] = cpus();
  return [
    `Machine: ${cpus().length} × ${processor?.model.trim() ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()} (${platform})`,
    `Engine: ${kind === 'docker' ? 'Docker' : 'Podman'} ${version}; image ${image.replace(/^localhost\//, '')}; Claude Code ${agent ?? 'unknown'}`,
    `Host: Node.js ${process.versions.node}, ${line('git', '--version')}, code-server ${codeServer.dependencies['code-server'] ?? ''}, ${line(process.env['SALLYPORT_CHROMIUM'] ?? '/usr/bin/chromium', '--version')}`,
    `Sallyport ${packages.version} at ${line('git', '-C', root, 'rev-parse', '--short', 'HEAD')}, ${new Date().toISOString().slice(0, 10)}; the run took ${minutes.toFixed(1)} minutes`,
  ];
}

function line(command: string, ...args: string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return `${command} of unknown version`;
  }
}

async function pretty({ root }: Tools, text: string): Promise<string> {
  const prettier = await import('prettier');
  const path = join(root, 'docs', 'benchmarks.md');
  return await prettier.format(text, { ...(await prettier.resolveConfig(path)), filepath: path });
}
