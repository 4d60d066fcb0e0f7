import type { PanelMessage, PanelRequest } from '../../src/protocol/panelMessages.ts';
import type { CommitRange } from '../../src/protocol/ranges.ts';
import type { ReviewScope } from '../../src/protocol/review.ts';
import { fileBatches } from '../../src/protocol/panelFiles.ts';
import { encodeText, type Told } from '../../src/protocol/reviewMessages.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { type PatchFile, readPatch } from './patchReview.ts';
import { rangeOf, scopesOf } from './patchScopes.ts';

interface Options {
  state: () => TaskState | undefined;
  patch: (range: CommitRange) => Promise<{ text: string; truncated: boolean }>;
  post: (message: PanelMessage) => void;
}

type Asked = Extract<PanelRequest, { type: 'review' | 'reviewText' }>;

/** The review as a page without an editor has it: the server's patches, to be read. */
export class PatchReview {
  private readonly options: Options;
  private shown: { request: number; scope: ReviewScope } | undefined;
  /** What was sent last: of an older range the page has to hear. */
  private range = '';
  private scopes = '';
  private turn = 0;
  private files = new Map<string, PatchFile>();

  constructor(options: Options) {
    this.options = options;
  }

  receive(request: Asked): void {
    if (request.type === 'reviewText') {
      const { request: number, file } = request;
      const found = this.files.get(file);
      this.options.post(
        found === undefined
          ? { type: 'reviewText', request: number, file, error: gone }
          : { type: 'reviewText', request: number, file, data: encodeText(found.text) },
      );
      return;
    }
    this.shown = { request: request.request, scope: request.scope };
    void this.send();
  }

  /** The state of the task is another: so may be what is shown. */
  stateChanged(): void {
    const state = this.options.state();
    if (this.shown === undefined || state === undefined) return;
    if (
      key(rangeOf(state, this.shown.scope)) !== this.range ||
      JSON.stringify(scopesOf(state)) !== this.scopes
    )
      void this.send();
  }

  private async send(): Promise<void> {
    const { shown } = this;
    const state = this.options.state();
    if (shown === undefined || state === undefined) return;
    this.turn += 1;
    const { turn } = this;
    const range = rangeOf(state, shown.scope);
    const scopes = scopesOf(state);
    this.range = key(range);
    this.scopes = JSON.stringify(scopes);
    try {
      const patch = range === undefined ? undefined : await this.options.patch(range);
      if (turn !== this.turn) return;
      const read = readPatch(patch?.text ?? '');
      this.files = new Map(read.map((each) => [each.file.id, each]));
      // What a cut patch has of its last file is not all of it.
      const cut = read.at(-1);
      if (patch?.truncated === true && cut !== undefined) cut.text.left = 1;
      const batches = fileBatches(read.map(({ file }) => file));
      batches.forEach((data, index) =>
        this.options.post({
          type: 'review',
          request: shown.request,
          scope: shown.scope,
          scopes,
          from: range?.from ?? '',
          to: range?.to ?? '',
          total: read.length,
          further: 0,
          data,
          first: index === 0,
          last: index === batches.length - 1,
        }),
      );
    } catch (thrown) {
      if (turn !== this.turn) return;
      this.range = '';
      const { message, mend } = thrown as { message: string; mend?: string };
      this.options.post({
        type: 'reviewFailed',
        request: shown.request,
        error: { message, mend: mend ?? '' },
      });
    }
  }
}

const gone: Told = { message: 'This file is not as it was.', mend: 'Choose what to review again.' };

function key(range: CommitRange | undefined): string {
  return range === undefined ? '' : `${range.from} ${range.to}`;
}
