import { LineSplitter } from '../base/lines.ts';
import { diskFull, isDiskFull } from './failures.ts';
import { Progress } from './schemas.ts';

/** Lines of an engine's output that are kept to explain a failure. */
const keptLines = 20;
/** Longest line that is shown, in characters. */
const maxShown = 110;
/** Least time between two lines of a program's output, in milliseconds; steps are shown at once. */
const quietTime = 400;

/** What an engine said when it gave up. */
export class ProgressFailure extends Error {
  /** The last lines before it. */
  readonly output: string[];

  constructor(message: string, output: string[]) {
    super(message);
    this.output = output;
  }
}

/** Reads the JSON lines of a pull, an import or a build to their end. Throws ProgressFailure, or disk_full. */
export async function followProgress(
  stream: NodeJS.ReadableStream,
  onProgress: (line: string) => void,
): Promise<void> {
  const shown = new Condenser(onProgress);
  let failure: string | undefined;
  const splitter = new LineSplitter((line) => {
    const message = parse(line);
    if (message === undefined) return;
    failure ??= message.error ?? message.errorDetail?.message;
    if (message.stream !== undefined) shown.output(message.stream);
    else if (message.status !== undefined) shown.status(message);
  });
  for await (const chunk of stream as AsyncIterable<Uint8Array>) splitter.push(chunk);
  splitter.end();
  if (failure === undefined) return;
  if (isDiskFull(failure) || shown.kept.some(isDiskFull)) throw diskFull(failure.trim());
  throw new ProgressFailure(failure.trim(), shown.kept);
}

function parse(line: Uint8Array): Progress | undefined {
  try {
    const result = Progress.safeParse(JSON.parse(Buffer.from(line).toString('utf8')));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}

/** Makes a few readable lines of many. Docker writes "Step 4/12 : RUN …", Podman "STEP 4/12: RUN …". */
class Condenser {
  readonly kept: string[] = [];
  private lastShown = 0;
  private lastLine = '';
  private readonly onProgress: (line: string) => void;

  constructor(onProgress: (line: string) => void) {
    this.onProgress = onProgress;
  }

  output(text: string): void {
    for (const raw of text.split(/[\r\n]+/)) {
      const line = raw.replaceAll(/\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f]/g, '').trim();
      if (line === '' || /^(-+>|Removing intermediate|COMMIT |[0-9a-f]{12,64}$)/.test(line)) continue;
      this.kept.push(line);
      if (this.kept.length > keptLines) this.kept.shift();
      const step = /^step (\d+\/\d+) ?: (.*)$/i.exec(line);
      if (step?.[1] !== undefined) this.show(`Step ${step[1]}: ${step[2] ?? ''}`);
      else this.showSometimes(line);
    }
  }

  status({ status = '', id, progressDetail }: Progress): void {
    const { current, total } = progressDetail ?? {};
    const part =
      current !== undefined && total !== undefined && total > 0
        ? ` ${Math.floor((100 * current) / total)} %`
        : '';
    this.showSometimes(`${id === undefined ? '' : `${id}: `}${status}${part}`);
  }

  private showSometimes(line: string): void {
    if (Date.now() - this.lastShown >= quietTime) this.show(line);
  }

  private show(line: string): void {
    const characters = Array.from(line.replaceAll(/\s+/g, ' '));
    const short =
      characters.length <= maxShown ? characters.join('') : `${characters.slice(0, maxShown - 1).join('')}…`;
    if (short === this.lastLine) return;
    this.lastLine = short;
    this.lastShown = Date.now();
    this.onProgress(short);
  }
}
