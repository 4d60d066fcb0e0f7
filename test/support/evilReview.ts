import { setTimeout as sleep } from 'node:timers/promises';
import type { RemarkState } from '../../src/protocol/review.ts';
import { fileBatches } from '../../src/protocol/panelFiles.ts';
import { encodeText, type ReviewMessage } from '../../src/protocol/reviewMessages.ts';
import { readPatch } from '../../webview/dashboard/patchReview.ts';
import { noReview } from '../../webview/task/review/reviewModel.ts';
import { evilPatch } from './evilViews.ts';
import { shaOf } from './specs.ts';

/** A script that posts a message to the page it runs in; bytes arrive as bytes. */
export function postScript(message: unknown): string {
  const json = JSON.stringify(message, (_key, value: unknown) =>
    value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString('base64') } : value,
  );
  return `window.postMessage(JSON.parse(${JSON.stringify(json)}, (key, value) =>
    value !== null && typeof value === 'object' && typeof value.$bytes === 'string'
      ? Uint8Array.from(atob(value.$bytes), (c) => c.charCodeAt(0)) : value), '*')`;
}

/** Answers what a panel asked about its review, with an attacker's text wherever there can be text. */
export async function answerReview(
  text: string,
  asked: () => Promise<readonly { type: string; request?: number }[]>,
  post: (message: ReviewMessage) => Promise<unknown>,
): Promise<void> {
  const request = await wish(asked, 'review');
  const [read] = readPatch(evilPatch(text));
  if (read === undefined) throw new Error('There is no file in the patch');
  const { file } = read;
  const evil = {
    ...file,
    path: text,
    from: text,
    gate: [{ kind: 'scripts' as const, why: text }],
    parts: file.parts.map((part) => ({ ...part, label: text })),
  };
  const link = {
    ...evil,
    id: 'a'.repeat(16),
    parts: [{ id: 'b'.repeat(16), kind: 'link' as const, added: 0, removed: 0, label: text, needs: [] }],
  };
  const remark: RemarkState = {
    id: 'r1',
    file: file.id,
    path: text,
    side: 'new',
    blob: shaOf('blob'),
    commit: shaOf('commit'),
    line: 2,
    endLine: 2,
    quote: text,
    text,
    state: 'draft',
    at: 1,
  };
  await post({
    type: 'reviewState',
    state: {
      ...noReview,
      remarks: [remark],
      pushes: [{ remote: text, branch: text, commit: shaOf('x'), at: 1 }],
      pullRequest: {
        forge: text,
        repository: text,
        number: 1,
        url: 'javascript:globalThis.evil=1',
        state: 'open',
        branch: text,
        at: 1,
      },
      unsent: 1,
    },
  });
  const batches = fileBatches([evil, link]);
  for (const [index, data] of batches.entries())
    await post({
      type: 'review',
      request,
      scope: { kind: 'all' },
      scopes: [
        { scope: { kind: 'all' }, label: text, detail: text },
        { scope: { kind: 'turn', turn: 1 }, label: text, detail: text },
      ],
      from: shaOf('base'),
      to: shaOf('x'),
      total: 2,
      further: 0,
      data,
      first: index === 0,
      last: index === batches.length - 1,
    });
  await post({
    type: 'reviewText',
    request: await wish(asked, 'reviewText'),
    file: file.id,
    data: encodeText(read.text),
  });
}

/** The number of the newest request of a type, once there is one. */
async function wish(
  asked: () => Promise<readonly { type: string; request?: number }[]>,
  type: string,
): Promise<number> {
  for (let tries = 0; tries < 2000; tries++) {
    const found = (await asked()).findLast((each) => each.type === type);
    if (found?.request !== undefined) return found.request;
    await sleep(50);
  }
  throw new Error(`The page asked for no ${type}`);
}
