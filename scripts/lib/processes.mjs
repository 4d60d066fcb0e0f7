// Child processes, for the scripts: argument arrays, never a shell.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';

/**
 * Runs a program to its end. Resolves to its exit code, 128 when a signal ended it, 127 when it is not there.
 * @param {string[]} argv
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, quiet?: boolean, log?: string, tell?: (text: string) => void, limitMs?: number, input?: boolean }} [options]
 *   `quiet` keeps the output back and shows its end only when the program fails; `log` writes it to a file too; `tell` gets
 *   it in place of the terminal;
 *   `limitMs` ends the program, and what it started, after that time; `input` hands on stdin.
 */
export async function run(argv, options = {}) {
  const { cwd, env = process.env, quiet = false, log, tell, limitMs, input = false } = options;
  const piped = quiet || log !== undefined || tell !== undefined;
  const [command, ...args] = argv;
  const child = spawn(command, args, {
    cwd,
    env,
    stdio: [input ? 'inherit' : 'ignore', piped ? 'pipe' : 'inherit', piped ? 'pipe' : 'inherit'],
    // A group of its own, so that a time limit ends everything in it.
    detached: limitMs !== undefined,
  });
  const file = log === undefined ? undefined : createWriteStream(log);
  let tail = '';
  for (const stream of piped ? [child.stdout, child.stderr] : []) {
    stream.setEncoding('utf8');
    stream.on('data', (text) => {
      tail = (tail + text).slice(-8000);
      file?.write(text);
      if (tell !== undefined) tell(text);
      else if (!quiet) process.stdout.write(text);
    });
  }
  const endGroup = (signal) => {
    try {
      process.kill(limitMs === undefined ? child.pid : -child.pid, signal);
    } catch {
      // Ended already.
    }
  };
  const forward = (signal) => endGroup(signal);
  const signals = limitMs === undefined ? ['SIGTERM'] : ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, forward);
  let late = false;
  const timer =
    limitMs === undefined
      ? undefined
      : setTimeout(() => {
          late = true;
          endGroup('SIGTERM');
          setTimeout(() => endGroup('SIGKILL'), 5000).unref();
        }, limitMs);
  try {
    const code = await new Promise((done, refuse) => {
      child.on('error', (error) => (error.code === 'ENOENT' ? done(127) : refuse(error)));
      child.on('close', (status, signal) => done(signal === null ? status : 128));
    });
    if (code !== 0 && quiet) process.stderr.write(tail);
    if (code === 127 && child.pid === undefined) console.error(`${command} was not found.`);
    if (late) console.error(`Ended after its time limit of ${Math.round(limitMs / 60_000)} minutes.`);
    return late ? 124 : code;
  } finally {
    clearTimeout(timer);
    for (const signal of signals) process.off(signal, forward);
    file?.end();
  }
}

/** What a program writes to stdout; throws with the end of stderr when it fails. */
export async function capture(argv, options = {}) {
  const [command, ...args] = argv;
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (err = (err + text).slice(-4000)));
  const code = await new Promise((done, refuse) => {
    child.on('error', refuse);
    child.on('close', (status, signal) => done(signal ?? status));
  });
  if (code !== 0)
    throw new Error(`${argv.slice(0, 3).join(' ')} ended with ${code}: ${err.trim() || out.trim()}`);
  return out;
}

/** Lets a child process end with this one, also when this one ends by a failure. */
export function bind(child) {
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
}

/** Ends a child process and waits for it: SIGTERM, after `graceMs` SIGKILL. One that has ended is left alone. */
export async function end(child, graceMs = 5000) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await gone;
  clearTimeout(timer);
}
