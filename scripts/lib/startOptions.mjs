// The options of `npm start`, read before anything is installed.
import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

export const usage = `npm start -- [options]

Installs what is missing, builds, makes the sandbox image, and opens VS Code with
the extension on a demonstration repository: the desktop VS Code where there is
one, else VS Code in the browser (code-server).

  --repo DIR        another git repository (default: ~/sallyport-demo, made when missing)
  --demo            let the demonstration model answer, even where there is a credential
  --port N          port of VS Code in the browser (default: 8931, or a free one)
  --browser         VS Code in the browser, even where there is a desktop
  --no-password     no password on VS Code in the browser (whoever reaches the port is let in)
  --no-open         print the address, and open no browser
  --yes             ask nothing before Debian packages are installed

  --task PROMPT     run one task here in the terminal, without VS Code
  --snapshot MODE   what the task starts from: head, tracked (edits of tracked files too)
                    or untracked (all files that are not ignored); default: tracked
  --egress MODE     what its sandbox may reach: list (the package registries, and --allow),
                    open or closed; default: list
  --allow RULE      a host that it may reach besides; may come several times
  --budget USD      what its model may cost; then the task waits
  --allow-secrets   start even where the sandbox would get likely keys

Without ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN or CLAUDE_CODE_OAUTH_TOKEN in the
environment a scripted demonstration model answers.`;

const known = {
  help: { type: 'boolean', short: 'h' },
  repo: { type: 'string' },
  demo: { type: 'boolean' },
  port: { type: 'string' },
  browser: { type: 'boolean' },
  'no-password': { type: 'boolean' },
  'no-open': { type: 'boolean' },
  yes: { type: 'boolean', short: 'y' },
  task: { type: 'string' },
  snapshot: { type: 'string' },
  egress: { type: 'string' },
  allow: { type: 'string', multiple: true },
  budget: { type: 'string' },
  'allow-secrets': { type: 'boolean' },
};

/** What only a task in the terminal takes. */
const ofTask = ['snapshot', 'egress', 'allow', 'budget', 'allow-secrets'];

/**
 * @returns {{ help?: boolean, problem?: string, repo?: { path: string, demonstration: boolean }, demo?: boolean,
 *   port?: number, browser?: boolean, password?: boolean, open?: boolean, yes?: boolean, task?: string, snapshot?: string,
 *   egress?: string, allow?: string[], budget?: string, allowSecrets?: boolean }}
 */
export function readOptions(argv) {
  let values;
  try {
    ({ values } = parseArgs({ args: argv, options: known, allowPositionals: false }));
  } catch (error) {
    return { problem: String(error.message).split('. ', 1)[0].replace(/\.?$/, '.') };
  }
  if (values.help) return { help: true };
  const problem = problemOf(values);
  if (problem !== undefined) return { problem };
  return {
    // The folder that the user stands in, not that of the project: npm changes it, and says where it was.
    repo:
      values.repo === undefined
        ? { path: join(homedir(), 'sallyport-demo'), demonstration: true }
        : { path: resolve(process.env.INIT_CWD ?? process.cwd(), values.repo), demonstration: false },
    demo: values.demo ?? false,
    port: values.port === undefined ? undefined : Number(values.port),
    browser: values.browser ?? false,
    password: !values['no-password'],
    open: !values['no-open'],
    yes: values.yes ?? false,
    task: values.task,
    snapshot: values.snapshot ?? 'tracked',
    egress: values.egress ?? 'list',
    allow: values.allow ?? [],
    budget: values.budget,
    allowSecrets: values['allow-secrets'] ?? false,
  };
}

function problemOf({ port, task, snapshot, repo, ...values }) {
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)) {
    return `--port "${port}" is no port number: it is between 1 and 65535.`;
  }
  if (task !== undefined && task.trim() === '') return '--task needs a prompt that is not empty.';
  const astray = ofTask.find((name) => ({ snapshot, ...values })[name] !== undefined);
  if (astray !== undefined && task === undefined) return `--${astray} goes with --task.`;
  if (values.egress !== undefined && !['list', 'open', 'closed'].includes(values.egress)) {
    return `--egress "${values.egress}" is unknown: it is list, open or closed.`;
  }
  if (values.budget !== undefined && !(Number(values.budget) > 0)) {
    return `--budget "${values.budget}" is no amount of US dollars above 0.`;
  }
  if (snapshot !== undefined && !['head', 'tracked', 'untracked'].includes(snapshot)) {
    return `--snapshot "${snapshot}" is unknown: it is head, tracked or untracked.`;
  }
  if (repo !== undefined) {
    const path = resolve(process.env.INIT_CWD ?? process.cwd(), repo);
    if (!existsSync(path) || !statSync(path).isDirectory()) return `--repo ${path} is no folder.`;
  }
  return undefined;
}
