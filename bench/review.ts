import { type Browser, chromium } from 'playwright-core';
import { ensureBuilt } from '../scripts/lib/build.mjs';
import { chromiumArguments, ensureChromium } from '../scripts/lib/chromium.mjs';
import { initialState, type TaskState } from '../src/protocol/taskState.ts';
import { type Block, fixtureFile, type FixtureFile } from '../test/support/reviewFixture.ts';
import { ReviewPage } from '../test/support/reviewPage.ts';
import { aSpec } from '../test/support/specs.ts';
import type { Section, Tools } from './lib/measure.ts';
import { median, ms, p95, ratio, thousands } from './lib/numbers.ts';

const longTask = 50;
/** Of what the browser needs to draw one file of the same kind, in the same run. */
const paintGoal = 3;
const decideGoal = 4;
const frameGoal = 2;

interface Opened {
  /** From the click on the tab to the first line with a hunk above it, drawn. */
  paint: number;
  /** From the same click to the last hunk's being known to the page. */
  whole: number;
  /** From a key to the verdict in the page. */
  decides: number[];
  /** The host's and the browser's own: a message to the page and back. */
  trips: number[];
  frames: number[];
  tasks: number[];
  /** Rows in the page at most. */
  rows: number;
}

/** How the panel's review carries itself with much to review: as ratios to a review of one file in the same run. */
export async function review(tools: Tools): Promise<Section> {
  await ensureBuilt();
  const rounds = tools.quick ? 1 : 5;
  const count = tools.quick ? 60 : 300;
  const perFile = Math.ceil((tools.quick ? 12_000 : 100_000) / count);
  const browser = await chromium.launch({
    executablePath: await ensureChromium(),
    args: [...chromiumArguments],
  });
  try {
    const small: Opened[] = [];
    const large: Opened[] = [];
    const files = Array.from({ length: count }, (_, n) => aFile(n, perFile));
    const lines = files.reduce((sum, { file }) => sum + (file.added ?? 0) + (file.removed ?? 0), 0);
    for (let round = 0; round < rounds; round++) {
      tools.say(`Review, round ${round + 1} of ${rounds}`);
      small.push(await look(browser, files.slice(0, 1)));
      large.push(await look(browser, files));
    }
    return section(small, large, { rounds, count, lines });
  } finally {
    await browser.close();
  }
}

function section(
  small: readonly Opened[],
  large: readonly Opened[],
  { rounds, count, lines }: { rounds: number; count: number; lines: number },
): Section {
  const paint = (of: readonly Opened[]): number => median(of.map((each) => each.paint));
  const whole = (of: readonly Opened[]): number => median(of.map((each) => each.whole));
  const decide = (of: readonly Opened[]): number => median(of.flatMap(({ decides }) => decides));
  const trip = median([...small, ...large].flatMap(({ trips }) => trips));
  const frames = (of: readonly Opened[]): number[] => of.flatMap((each) => each.frames);
  const tasks = (of: readonly Opened[]): number[] => of.flatMap((each) => each.tasks);
  const long = (of: readonly Opened[]): string =>
    tasks(of).length === 0 ? 'none' : `${tasks(of).length}, longest ${ms(Math.max(...tasks(of)))}`;
  const frameRatio = p95(frames(large)) / p95(frames(small));
  const paintRatio = paint(large) / paint(small);
  const decideRatio = decide(large) / trip;
  const much = `${thousands(count)} files`;
  return {
    title: 'The review in the panel',
    how: [
      `Chromium without a screen shows the shipped page of a task with the review of ${much} with ${thousands(lines)} changed lines, and of one such file, ${rounds} times in turns; the host's part answers from memory, over the test's bridge into the page instead of VS Code's. First paint is from the click on the tab to the frame after the first hunk stands there with its lines. What is not in sight comes after that; all hunks are known when the page has the last of them. Then the whole review is scrolled through in 200 steps, one a frame, and 20 hunks are decided by keyboard, each from the key to the verdict in the page. The floor of the decisions is a message over the same bridge to the host and back to the page, which does nothing with it, and a frame.`,
    ],
    tables: [
      {
        head: ['Review', 'one file', much, 'ratio'],
        rows: [
          ['first paint, median', ms(paint(small)), ms(paint(large)), ratio(paint(large), paint(small))],
          ['all hunks known, median', ms(whole(small)), ms(whole(large)), ratio(whole(large), whole(small))],
          [
            'decide → repaint, median',
            ms(decide(small)),
            ms(decide(large)),
            ratio(decide(large), decide(small)),
          ],
          ['there and back, median', ms(trip), ms(trip), ''],
          ['scrolling: frame, median', ms(median(frames(small))), ms(median(frames(large))), ''],
          [
            'scrolling: frame, p95',
            ms(p95(frames(small))),
            ms(p95(frames(large))),
            ratio(p95(frames(large)), p95(frames(small))),
          ],
          ['scrolling: longest frame', ms(Math.max(...frames(small))), ms(Math.max(...frames(large))), ''],
          [`scripts over ${longTask} ms`, long(small), long(large), ''],
          ['rows in the page at most', '', thousands(Math.max(...large.map(({ rows }) => rows))), ''],
        ],
      },
    ],
    targets: [
      {
        what: `First paint of a review of ${much}, ${thousands(lines)} lines`,
        target: `≤ ${paintGoal} × that of one file`,
        measured: ratio(paint(large), paint(small)),
        met: paintRatio <= paintGoal,
      },
      {
        what: `Decide a hunk in it → repainted`,
        target: `≤ ${decideGoal} × a message there and back, and a frame`,
        measured: ratio(decide(large), trip),
        met: decideRatio <= decideGoal,
      },
      {
        what: 'Frames while it is scrolled through (p95)',
        target: `≤ ${frameGoal} × those of one file`,
        measured: ratio(p95(frames(large)), p95(frames(small))),
        met: frameRatio <= frameGoal,
      },
    ],
  };
}

/** A file of code with hunks of ten lines. */
function aFile(number: number, changed: number): FixtureFile {
  const code = (word: string, from: number, lines: number): string[] =>
    Array.from(
      { length: lines },
      (_, i) =>
        `  export const ${word}${from + i} = compute('${word}', ${from + i}, { scale: ${i % 7} }); // line ${from + i}`,
    );
  const blocks: Block[] = [];
  for (let hunk = 0; hunk * 10 < changed; hunk++) {
    blocks.push(code('same', hunk * 20, 12));
    blocks.push({ old: code('old', hunk * 5, 5), new: code('new', hunk * 5, 5) });
  }
  return fixtureFile(`src/module${String(number).padStart(3, '0')}/file${number}.ts`, blocks);
}

async function look(browser: Browser, files: readonly FixtureFile[]): Promise<Opened> {
  const state: TaskState = { ...initialState(aSpec(), Date.now()), phase: 'running' };
  const shown = await ReviewPage.open({ browser, files, state });
  const { page } = shown;
  try {
    await page.locator('#review-tab').waitFor();
    // The grammar and what colours with it come once for a page, and are no part of this.
    const paint = await page.evaluate<number>(open);
    const whole = await page.evaluate<number>(untilWhole);
    const trips = await page.evaluate<number[]>(goThereAndBack);
    await page.evaluate(scrollThrough);
    await page.evaluate(`document.querySelector('.rv-scroller').scrollTop = 0`);
    await page.waitForTimeout(300);
    await page.locator('.rv-scroller').focus();
    const decides: number[] = [];
    for (let n = 0; n < Math.min(20, files[0]?.file.parts.length ?? 0); n++) {
      await page.keyboard.press('j');
      await page.waitForTimeout(60);
      decides.push(await page.evaluate<number>(decideOne));
    }
    const { frames, tasks, rows } = await page.evaluate<{ frames: number[]; tasks: number[]; rows: number }>(
      'globalThis.benchSeen',
    );
    if (shown.errors.length > 0) throw new Error(shown.errors.join('\n'));
    return { paint, whole, decides, trips, frames, tasks, rows };
  } finally {
    await shown.close();
  }
}

// Scripts for the page, as text, because they run there.

const afterFrame = `const afterFrame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));`;

/** Opens the tab; long tasks are noted from here on. */
const open = `(async () => {
  ${afterFrame}
  globalThis.benchSeen = { began: 0, frames: [], tasks: [], rows: 0 };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) benchSeen.tasks.push(entry.duration);
  }).observe({ type: 'longtask' });
  const began = (benchSeen.began = performance.now());
  document.querySelector('#review-tab').click();
  while (document.querySelector('.rv-bar') === null || document.querySelector('.rv-line ins') === null) await afterFrame();
  return performance.now() - began;
})()`;

const untilWhole = `(async () => {
  ${afterFrame}
  while (!document.querySelector('sallyport-review').model.complete) await afterFrame();
  return performance.now() - benchSeen.began;
})()`;

/** A request that the host answers with an error of its own: the file is not known. */
const goThereAndBack = `(async () => {
  ${afterFrame}
  const trips = [];
  for (let n = 0; n < 20; n++) {
    const began = performance.now();
    await new Promise((done) => {
      const heard = ({ data }) => {
        if (data?.type !== 'reviewText' || data.request !== -1) return;
        removeEventListener('message', heard);
        done();
      };
      addEventListener('message', heard);
      hostReceive({ type: 'reviewText', request: -1, file: 'f'.repeat(16), context: 0 });
    });
    await afterFrame();
    trips.push(performance.now() - began);
  }
  return trips;
})()`;

const scrollThrough = `(async () => {
  const scroller = document.querySelector('.rv-scroller');
  const end = scroller.scrollHeight - scroller.clientHeight;
  let before = performance.now();
  for (let step = 1; step <= 200; step++) {
    scroller.scrollTop = (end * step) / 200;
    const at = await new Promise((done) => requestAnimationFrame(done));
    benchSeen.frames.push(at - before);
    before = at;
    benchSeen.rows = Math.max(benchSeen.rows, document.querySelectorAll('.rv-body > *').length);
  }
})()`;

/** Presses the key for the part that has the focus, and waits until it is drawn as decided. */
const decideOne = `(async () => {
  ${afterFrame}
  const bar = document.activeElement.closest('.rv-bar');
  if (bar === null) throw new Error('no hunk has the focus: ' + document.activeElement.className);
  const part = bar.dataset.part;
  const began = performance.now();
  bar.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }));
  while (document.querySelector('.rv-bar.accepted[data-part="' + part + '"]') === null) await afterFrame();
  return performance.now() - began;
})()`;
