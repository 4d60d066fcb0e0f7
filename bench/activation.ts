import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { withEditor } from './lib/editor.ts';
import type { Section, Tools } from './lib/measure.ts';
import { median, ms, p95, thousands } from './lib/numbers.ts';

const goal = 50;

interface Activation {
  load: number;
  call: number;
  finish: number;
  event: string;
}

/** How long VS Code waits for the extension when it starts. */
export async function activation(tools: Tools): Promise<Section> {
  const rounds = tools.quick ? 1 : 5;
  const found: Activation[] = [];
  let peers: Activation[] = [];
  for (let round = 0; round < rounds; round++) {
    tools.say(`Activation, round ${round + 1} of ${rounds}`);
    const { text } = await withEditor(tools, (editor) => editor.ask('activation', {}));
    found.push(ours(text));
    peers = [...peers, ...builtIn(text)];
  }
  const total = (one: Activation): number => one.load + one.call + one.finish;
  const row = (name: string, values: readonly number[]): string[] => [
    name,
    ms(median(values)),
    ms(p95(values)),
  ];
  const waited = found.map((one) => one.load + one.call);
  const path = join(tools.root, 'dist', 'extension.js');
  return {
    title: 'Activation',
    how: [
      `As VS Code's own *Developer: Startup Performance* tells it, in ${rounds} fresh extension hosts: loading the bundle ` +
        `(dist/extension.js, ${thousands(statSync(path).size)} bytes, ${lines(path)} lines, minified), the call of ` +
        '`activate`, and what resolves after it. VS Code gives whole milliseconds. The peers are the extensions that VS ' +
        'Code itself brings and that were activated in the same hosts.',
    ],
    tables: [
      {
        head: ['Sallyport', 'median', 'p95'],
        rows: [
          row(
            'load of the bundle',
            found.map(({ load }) => load),
          ),
          row(
            'call of `activate`',
            found.map(({ call }) => call),
          ),
          row(
            'until it has resolved',
            found.map(({ finish }) => finish),
          ),
          row('load and call', waited),
          row(
            'peers: load and call',
            peers.map(({ load, call }) => load + call),
          ),
          row('peers: all three', peers.map(total)),
        ],
      },
    ],
    targets: [
      {
        what: 'Activation of the extension (load and call, median)',
        target: `< ${goal} ms`,
        measured: ms(median(waited)),
        met: median(waited) < goal,
      },
    ],
  };
}

function lines(path: string): string {
  return thousands(readFileSync(path, 'latin1').split('\n').length);
}

/** Rows of the table of activations: extension, eager, load, call, finish, event, by whom. */
function rowsOf(text: string): { name: string; activation: Activation }[] {
  return text.split('\n').flatMap((line) => {
    const cells = line.split('|').map((cell) => cell.trim());
    const [, name = '', eager, load, call, finish, event = ''] = cells;
    if (eager !== 'true' && eager !== 'false') return [];
    return [{ name, activation: { load: Number(load), call: Number(call), finish: Number(finish), event } }];
  });
}

function ours(text: string): Activation {
  const row = rowsOf(text).find(({ name }) => name.toLowerCase() === 'sallyport.sallyport');
  if (row === undefined) throw new Error(`VS Code tells nothing about our activation:\n${text}`);
  return row.activation;
}

function builtIn(text: string): Activation[] {
  return rowsOf(text)
    .filter(({ name }) => name.startsWith('vscode.'))
    .map(({ activation: found }) => found);
}
