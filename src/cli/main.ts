import { on } from 'node:events';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { version } from '../base/version.ts';
import { EgressMode } from '../protocol/egress.ts';
import { SnapshotMode } from '../protocol/task.ts';
import { defaultDataRoot } from '../runner/dataFolder.ts';
import { doctorTable } from '../runner/doctorTable.ts';
import { runHeadless } from '../runner/headless.ts';
import { createTaskService } from '../runner/localTasks.ts';
import { type ChosenSource, createModelSources } from '../runner/modelSources.ts';
import { credentialTable } from '../runner/modelSourcesTable.ts';
import type { TaskService } from '../runner/taskService.ts';
import { defaultPolicy } from '../runner/userPolicy.ts';

const usage = `sallyport-runner headless --task PROMPT | --task-file FILE [options]
sallyport-runner doctor [--call-model]
sallyport-runner credentials
sallyport-runner serve
sallyport-runner health
sallyport-runner backup FILE
sallyport-runner restore FILE
sallyport-runner password LOGIN
sallyport-runner budget TASK USD|none
sallyport-runner allow TASK RULE

  --repo DIR        repository to work on (default: this folder)
  --snapshot MODE   head, tracked or untracked (default: tracked)
  --model NAME      model of the agent
  --credential ID   which credential is used, by its id (default: the first that is ready)
  --demo            let the demonstration model answer, even where there is a credential
  --egress MODE     what the sandbox may reach: list (the package registries, and --allow), open or closed
  --allow RULE      a host that it may reach besides, as in "api.example.com" or
                    "mirror.example.com:8443/debian/ GET,HEAD"; may come several times
  --budget USD      what the model may cost; then the task waits
  --allow-secrets   start even where the sandbox would get likely keys
  --image IMAGE     image of the sandbox instead of Sallyport's own: it is on the engine, or is pulled
  --dockerfile FILE Dockerfile from which the image is built instead, absolute or from the repository
  --mount MOUNT     a folder or file that the sandbox sees, as in "/data:/data", read-only, or "/data:/data:rw";
                    may come several times
  --engine ADDRESS  socket path or URL of the container engine
  --call-model      let the doctor send the model a request for one token
  --verbose         diagnostics on stderr

serve starts the runner's server: HTTP, WebSocket and a dashboard. It is configured by environment variables, which
docs/runner.md lists; without any it listens on this machine's port 7334 only. backup and restore move the data
folder (SALLYPORT_HOME), backup also while the server runs. password gives a user of the server a new password, shown once.
`;

/** Throws `invalid_input` with what is wrong. */
function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        task: { type: 'string' },
        'task-file': { type: 'string' },
        repo: { type: 'string', default: '.' },
        snapshot: { type: 'string', default: 'tracked' },
        model: { type: 'string' },
        credential: { type: 'string' },
        demo: { type: 'boolean', default: false },
        egress: { type: 'string' },
        allow: { type: 'string', multiple: true },
        budget: { type: 'string' },
        'allow-secrets': { type: 'boolean', default: false },
        image: { type: 'string' },
        dockerfile: { type: 'string' },
        mount: { type: 'string', multiple: true },
        engine: { type: 'string' },
        'call-model': { type: 'boolean', default: false },
        verbose: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (thrown) {
    throw invalid(asSallyportError(thrown).message.replace(/\n[^]*$/, ''));
  }
}

async function main(): Promise<number> {
  const { values, positionals } = readArguments();
  const [command] = positionals;
  if (values.help || command === undefined) {
    process.stdout.write(usage);
    return values.help ? 0 : 2;
  }
  if (command === 'serve') return await runServer(values.verbose ? terminalLog : serverLog);
  if (command === 'health') return await health();
  if (command === 'backup' || command === 'restore') return await backUpOrRestore(command, positionals[1]);
  if (command === 'password') return await newPassword(positionals[1]);
  const sources = createModelSources({
    env: process.env,
    homeFolder: homedir(),
    stored: () => Promise.resolve(undefined),
    settings: () => ({ modelSource: 'auto' }),
  });
  if (command === 'credentials') {
    process.stdout.write(credentialTable(await sources.list()));
    return 0;
  }
  const credentials = (): Promise<ChosenSource> =>
    sources.choose(values.demo ? 'demonstration' : values.credential);
  const service = await createTaskService({
    dataFolder: defaultDataRoot(),
    distFolder: __dirname,
    containerFolder: resolve(__dirname, '..', 'container'),
    engineSetting: () => values.engine,
    // Nobody answers here, so that no request waits.
    policy: () => ({ ...defaultPolicy, holdMs: 0 }),
    credentials,
    modelSources: sources,
    log: values.verbose ? terminalLog : quiet,
  });
  try {
    if (command === 'doctor') return await doctor(service, values['call-model']);
    if (command === 'budget' || command === 'allow') {
      await decide(service, command, positionals.slice(1));
      return 0;
    }
    if (command !== 'headless') throw invalid(`There is no command "${command}".`);
    const prompt =
      values.task ?? (values['task-file'] === undefined ? '' : await readFile(values['task-file'], 'utf8'));
    const snapshot = SnapshotMode.safeParse(values.snapshot);
    if (!snapshot.success) throw invalid(`"${values.snapshot}" is no snapshot mode.`);
    const mode = EgressMode.safeParse(values.egress ?? 'list');
    if (!mode.success) throw invalid(`--egress "${values.egress ?? ''}" is neither list, open nor closed.`);
    const options = {
      prompt,
      egress: { mode: mode.data, rules: values.allow ?? [] },
      allowSecrets: values['allow-secrets'],
      ...(values.budget === undefined ? {} : { budgetUsd: dollars(values.budget) }),
      isolation: {
        ...defaultPolicy.isolation,
        ...(values.image === undefined ? {} : { image: values.image }),
        ...(values.dockerfile === undefined ? {} : { dockerfile: values.dockerfile }),
        ...(values.mount === undefined ? {} : { mounts: values.mount }),
      },
      repository: resolve(values.repo),
      snapshot: snapshot.data,
      ...(values.model === undefined ? {} : { model: values.model }),
    };
    const { label, sourceId } = await credentials();
    process.stdout.write(`credential: ${label} [${sourceId}]\n`);
    return await runHeadless(
      service,
      options,
      (text) => process.stdout.write(`${text}\n`),
      on(process, 'SIGINT'),
    );
  } finally {
    service.dispose();
  }
}

/** Until a signal asks it to end; a second signal does not wait. */
async function runServer(log: Logger): Promise<number> {
  const { serve } = await import('../server/serve.ts');
  const server = await serve({
    env: process.env,
    distFolder: __dirname,
    containerFolder: resolve(__dirname, '..', 'container'),
    version,
    log,
    print: (text) => process.stdout.write(text),
  });
  const signal = await new Promise<string>((asked) => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, asked);
  });
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => process.exit(1));
  process.stdout.write(`${signal}: the server ends; tasks go on in their sandboxes and are found again.\n`);
  await server.close();
  return 0;
}

async function backUpOrRestore(command: 'backup' | 'restore', file: string | undefined): Promise<number> {
  if (file === undefined) throw invalid(`"${command}" needs the name of a file.`);
  const { backUp, restore } = await import('../server/serve.ts');
  const folder = defaultDataRoot();
  const count =
    command === 'backup' ? await backUp(folder, resolve(file)) : await restore(resolve(file), folder);
  const how =
    command === 'backup' ? `of ${folder} are in ${file}, with the key of the folder` : `are in ${folder}`;
  process.stdout.write(`${count.toLocaleString('en')} files ${how}.\n`);
  return 0;
}

async function newPassword(login: string | undefined): Promise<number> {
  if (login === undefined) throw invalid('"password" needs the login of a user.');
  const { resetPassword } = await import('../server/serve.ts');
  process.stdout.write(`${await resetPassword(defaultDataRoot(), login)}\n`);
  return 0;
}

/** Whether the server on this machine answers; what a container engine asks now and then. */
async function health(): Promise<number> {
  const port = process.env['SALLYPORT_PORT'] || process.env['PORT'] || '7334';
  const { request } = process.env['SALLYPORT_TLS_CERT']
    ? await import('node:https')
    : await import('node:http');
  return await new Promise((done) => {
    // Its own certificate need not be for this name.
    const asked = request(
      {
        host: '127.0.0.1',
        port,
        path: '/api/v1/version',
        rejectUnauthorized: false,
        timeout: 4000,
        headers: { host: `localhost:${port}` },
      },
      (answer) => {
        answer.resume();
        done(answer.statusCode === 200 ? 0 : 1);
      },
    );
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => done(1));
    asked.end();
  });
}

/** For a task that runs, in whichever process. */
async function decide(
  service: TaskService,
  command: 'budget' | 'allow',
  [id = '', value = '']: string[],
): Promise<void> {
  await service.open();
  if (command === 'allow') await service.answerEgress(id, { allow: 'task', rule: value });
  else await service.setBudget(id, value === 'none' ? null : dollars(value));
}

function dollars(text: string): number {
  const usd = Number(text);
  if (text.trim() === '' || !Number.isFinite(usd) || usd <= 0)
    throw invalid(`"${text}" is no amount of US dollars above 0.`);
  return usd;
}

async function doctor(service: TaskService, callModel: boolean): Promise<number> {
  const stopping = new AbortController();
  process.once('SIGINT', () => stopping.abort());
  const checks = await service.doctor({ callModel, signal: stopping.signal });
  const colours = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  process.stdout.write(doctorTable(checks, colours));
  return checks.some(({ ok }) => ok === false) ? 1 : 0;
}

function invalid(message: string): SallyportError {
  return new SallyportError('invalid_input', message, 'See --help.');
}

function write(level: string, message: string): void {
  process.stderr.write(`${level} ${message}\n`);
}

const terminalLog: Logger = {
  debug: (message) => write('debug', message),
  info: (message) => write('info', message),
  warn: (message) => write('warn', message),
  error: (message) => write('error', message),
};
const serverLog: Logger = { ...terminalLog, debug: () => undefined };
const quiet: Logger = {
  ...terminalLog,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
};

main().then(
  (code) => process.exit(code),
  (thrown: unknown) => {
    const error = asSallyportError(thrown);
    process.stderr.write(`${error.message} ${error.mend} [${error.code}]\n`);
    process.exit(error.code === 'invalid_input' || error.code === 'internal' ? 2 : 1);
  },
);
