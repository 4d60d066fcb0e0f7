import type { TaskEvent, TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { noUsage } from '../../src/protocol/usage.ts';
import { aSpec, shaOf } from './specs.ts';

/** What an attacker would like a view to make of text. Each runs, asks for something or leads away where it is markup. */
export const payloads: readonly string[] = [
  '<img src=x data-evil onerror="globalThis.evil=1">',
  '</pre></style><script data-evil>globalThis.evil=1</script>',
  '<svg data-evil onload="globalThis.evil=1"></svg>',
  '<iframe data-evil src="https://evil.example.com/"></iframe>',
  '<a data-evil href="command:workbench.action.terminal.new">x</a>',
  '"><b data-evil onmouseover="globalThis.evil=1" style="position:fixed;inset:0">x',
  "' onclick='globalThis.evil=1' data-evil='",
  '[click](command:workbench.action.terminal.new) ![i](https://evil.example.com/i.png)',
  '${globalThis.evil=1}{{constructor.constructor("globalThis.evil=1")()}}',
  '\u001b]8;;https://evil.example.com\u0007click\u001b]8;;\u0007\u001b]52;c;ZXZpbA==\u0007\u001b[2J\u009b31m',
  '\u202edesrever \u2066x\u2069\u200b\u0000\u0008\u007f',
];

/** Every kind of event that a sandbox or a gateway can say, and what the runner repeats of them, full of one text. */
export function evilEvents(text: string): TaskEvent[] {
  const spec = aSpec({
    title: text,
    prompt: text,
    repository: { id: 'demo-0123456789', name: text, path: text },
    model: { label: text, demonstration: false },
    identity: { name: text, email: text },
  });
  const usage = { ...noUsage, inputTokens: 1 };
  const files = [
    { path: text, status: 'added', added: 1, removed: 0 },
    { path: `${text}/new`, from: text, status: 'renamed' },
  ] as const;
  const commit = {
    sha: shaOf(text),
    parents: [shaOf('base')],
    branch: text,
    author: text,
    email: text,
    date: 1,
    subject: text,
    body: `${text}\n${text}`,
    files: [...files],
  };
  const target = { host: text, port: 443, method: text, path: text };
  const sandbox: TaskEventBody[] = [
    { type: 'started', spec, supervisor: text },
    { type: 'workspace', branch: 'main', commit: shaOf('base'), files: 1, ms: 1 },
    { type: 'egress', closed: true, checks: [{ what: text, blocked: true, detail: text }] },
    { type: 'session', sessionId: text, model: text, version: text, tools: [text] },
    { type: 'text', text },
    { type: 'thinking', text },
    ...['Bash', 'Edit', 'Write', 'Read', 'Grep', 'TodoWrite', 'WebFetch', text].map(
      (name, n): TaskEventBody => ({
        type: 'tool_use',
        id: `${text}${n}`,
        name,
        input: {
          command: text,
          description: text,
          file_path: text,
          old_string: text,
          new_string: `${text}+`,
          content: text,
          pattern: text,
          path: text,
          url: text,
          todos: [{ content: text, status: text, activeForm: text }],
          [text]: { [text]: [text] },
        },
      }),
    ),
    { type: 'tool_result', id: `${text}0`, isError: false, text },
    { type: 'tool_result', id: `${text}1`, isError: true, text },
    { type: 'unknown', message: { [text]: text } },
    { type: 'output', stream: 'stdout', text },
    { type: 'output', stream: 'stderr', text },
    { type: 'output', stream: 'stderr', base64: Buffer.from(text).toString('base64') },
    { type: 'notice', level: 'warning', text },
    { type: 'commit', commit },
    { type: 'leftovers', commit: shaOf('left'), parent: shaOf('base'), files: [...files] },
    { type: 'result', isError: true, text, durationMs: 1, costUsd: 1, turns: 1, usage },
  ];
  const gateway: TaskEventBody[] = [
    {
      type: 'request',
      id: 1,
      kind: 'tunnel',
      ...target,
      verdict: 'blocked',
      askable: true,
      reason: text,
      bytesOut: 1,
      bytesIn: 1,
      started: 1,
    },
    {
      type: 'request',
      id: 2,
      kind: 'http',
      ...target,
      verdict: 'allowed',
      reason: text,
      status: 200,
      bytesOut: 1,
      bytesIn: 1,
      started: 1,
    },
    { type: 'request_waiting', id: 3, kind: 'http', ...target, until: Date.now() + 60_000 },
    { type: 'spend', request: 4, model: text, usage, usd: 1, estimated: true },
    { type: 'gateway_notice', level: 'error', text },
  ];
  const runner: TaskEventBody[] = [
    { type: 'progress', stage: 'image', text },
    { type: 'imported', tips: [commit.sha], commits: [commit] },
    { type: 'import_failed', tips: [shaOf('left')], code: 'import_refused', message: text },
    { type: 'egress_refused', host: text },
    { type: 'notice', level: 'error', text },
    { type: 'paused', scope: 'task', spentUsd: 1, limitUsd: 1 },
  ];
  const end: TaskEventBody[] = [
    { type: 'ended', outcome: 'failed', kind: 'agent_error', message: text, mend: text },
  ];
  let [n, s, g] = [0, 0, 0];
  const numbered = (bodies: readonly TaskEventBody[], by: (n: number) => object): TaskEvent[] =>
    bodies.map((body) => ({ ...body, n: ++n, t: 1000 + n, ...by(n) }));
  return [
    ...numbered([{ type: 'submitted', spec }], () => ({})),
    ...numbered(sandbox, () => ({ s: ++s })),
    ...numbered(gateway, () => ({ g: ++g })),
    ...numbered(runner, () => ({})),
    ...numbered(end, () => ({ s: ++s })),
  ];
}

/** The state before the end, and after it. */
export function evilStates(text: string): TaskState[] {
  const events = evilEvents(text);
  const [first] = events;
  if (first?.type !== 'submitted') throw new Error('The first event submits the task');
  const running = events.slice(0, -1).reduce(reduce, initialState(first.spec, 1000));
  return [running, events.slice(-1).reduce(reduce, running)];
}

/** A unified diff whose names and lines are a text. */
export function evilPatch(text: string): string {
  const line = text.replaceAll('\n', ' ');
  return [
    `diff --git a/${line} b/${line}`,
    'index 0000000..1111111 100644',
    `--- a/${line}`,
    `+++ b/${line}`,
    `@@ -1,2 +1,2 @@ ${line}`,
    ` ${line}`,
    `-${line}`,
    `+${line} ${line}`,
    '',
  ].join('\n');
}
