// What the scripts say on the terminal.
const colours = process.stdout.isTTY && process.env.NO_COLOR === undefined;
const paint = (code) => (text) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);

export const bold = paint('1');
export const dim = paint('2');
export const red = paint('31');
export const green = paint('32');

/** A step that begins. */
export function headline(text) {
  console.log(`\n${bold(`▶ ${text}`)}`);
}

/** Something that a script does, and why. */
export function say(text) {
  console.log(`  ${text}`);
}

/** `950 ms`, `12.3 s`, `2 min 5 s` */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** Shows that something long goes on: a line with the time after each `everyMs`. Returns what ends it. */
export function heartbeat(text, everyMs = 15_000) {
  const start = Date.now();
  const timer = setInterval(() => say(dim(`${text} (${duration(Date.now() - start)} so far)`)), everyMs);
  return () => clearInterval(timer);
}

/** A failure that is told to the user: what happened, and what to do. */
export class Refusal extends Error {
  constructor(message, mend, exitCode = 1) {
    super(message);
    this.mend = mend;
    this.exitCode = exitCode;
  }
}

/** Runs a script; whatever it throws becomes a sentence and an exit code. */
export async function main(body) {
  try {
    const code = await body();
    process.exitCode = code ?? 0;
  } catch (thrown) {
    if (thrown instanceof Refusal) {
      console.error(`${red(thrown.message)}${thrown.mend === undefined ? '' : `\n${thrown.mend}`}`);
      process.exitCode = thrown.exitCode;
      return;
    }
    // A SallyportError of the product's has the same shape; a plain Error of ours is a sentence; the rest is a defect.
    const said = thrown?.mend !== undefined || thrown?.constructor === Error;
    console.error(said ? [red(thrown.message), thrown.mend].filter(Boolean).join('\n') : thrown);
    process.exitCode = 1;
  }
}
