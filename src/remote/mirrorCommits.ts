import { asSallyportError, SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { pause } from '../base/pause.ts';
import type { Quarantine } from '../git/quarantine.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { TaskSpec } from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import { backoffDelay, type Backoff } from './backoff.ts';
import { asHere, type Bringing, tipsOf } from './bringing.ts';
import { CommitImport } from './commitImport.ts';
import type { MirrorFolder } from './mirrorFolder.ts';
import { isDiskFull } from './runnerFailures.ts';

/** Where the commits of a mirrored task come from, and what is said on the way. */
export interface BundleSource {
  folder: Pick<MirrorFolder, 'root' | 'spool'>;
  log: Logger;
  backoff: Backoff;
  bundle(id: TaskId, have: readonly string[], signal: AbortSignal): Promise<ByteStream>;
}

/** Brings the commits of one mirrored task. */
export class MirrorCommits {
  private readonly spec: TaskSpec;
  private readonly source: BundleSource;
  private readonly onTrouble: (error: SallyportError) => void;
  private readonly commits: CommitImport;

  constructor(
    spec: TaskSpec,
    quarantine: Quarantine,
    source: BundleSource,
    onTrouble: (error: SallyportError) => void,
  ) {
    this.spec = spec;
    this.source = source;
    this.onTrouble = onTrouble;
    this.commits = new CommitImport(spec, quarantine, {
      spool: source.folder.spool,
      bundle: (have, signal) => source.bundle(spec.id, have, signal),
    });
  }

  /** The event as it is true here: after the commits are here, or with why they are not. Tries until `signal` aborts. */
  async bring(event: Bringing, signal: AbortSignal): Promise<TaskEvent> {
    const { folder, log, backoff } = this.source;
    const { n, t } = event;
    const tips = tipsOf(event);
    for (let failures = 0; ; failures++) {
      try {
        return asHere(event, await this.commits.bring(tips, signal));
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        const error = isDiskFull(thrown) ? diskFull(folder.root) : asSallyportError(thrown);
        log.warn(`Commits of ${this.spec.id} from the runner: ${error.message}`);
        if (isFinal(error))
          return { type: 'import_failed', tips, code: 'import_refused', message: error.message, n, t };
        if (error.code === 'disk_full' && failures === 0) this.onTrouble(error);
        await pause(backoffDelay(failures, backoff), signal);
        signal.throwIfAborted();
      }
    }
  }
}

/** What is not let in once is not let in later; and what the runner does not have, it does not have. */
function isFinal({ code }: SallyportError): boolean {
  return ['import_refused', 'task_unknown', 'not_found', 'invalid_input'].includes(code);
}

function diskFull(path: string): SallyportError {
  return new SallyportError(
    'disk_full',
    `The disk that holds ${path} is full.`,
    'Free some space: the commits are still on the runner, and are fetched as soon as there is room.',
  );
}
