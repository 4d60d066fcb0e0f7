/** What the bench looks at inside the panel's page: scripts for its frame, as text, because they run there. */

/** Notes in `benchSeen` when the card of "Commit <n>" comes into the page. */
export const watchCommits = `(() => {
  globalThis.benchSeen = {};
  const look = () => {
    const at = performance.timeOrigin + performance.now();
    for (const title of document.querySelectorAll('#log-list strong')) {
      const number = /^Commit (\\d+)$/.exec(title.textContent)?.[1];
      if (number !== undefined) globalThis.benchSeen[number] ??= at;
    }
  };
  new MutationObserver(look).observe(document.querySelector('#log-list'), {
    subtree: true, childList: true, characterData: true,
  });
  look();
})()`;

/**
 * Notes in `benchFlow` every frame's length, every task of over 50 ms, and the batches of events that the page took in.
 * Its listener comes after the page's own, so a message counts when the page is done with it.
 */
export const watchFlow = `(() => {
  const flow = { frames: [], tasks: [], batches: [] };
  globalThis.benchFlow = flow;
  const clock = () => performance.timeOrigin + performance.now();
  addEventListener('message', ({ data }) => {
    if (data?.type !== 'events') return;
    flow.batches.push([clock(), data.data.length]);
  });
  let before = performance.now();
  const frame = (at) => {
    flow.frames.push([clock(), at - before]);
    before = at;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) flow.tasks.push([performance.timeOrigin + entry.startTime, entry.duration]);
  }).observe({ type: 'longtask' });
})()`;

/** What `watchFlow` noted. */
export interface Flow {
  /** When a frame began, and how long after the one before, in milliseconds. */
  frames: [number, number][];
  tasks: [number, number][];
  /** When a batch had been taken in, and its bytes. */
  batches: [number, number][];
}

/** How many events the page holds, whether their numbers are without a gap, and characters of their texts. */
export const heldEvents = `(() => {
  const { events } = document.querySelector('sallyport-task').model;
  let whole = true;
  let text = 0;
  events.forEach((event, index) => {
    whole &&= event.n === index + 1;
    if (event.type === 'text') text += event.text.length;
  });
  return { count: events.length, whole, text };
})()`;

export interface Held {
  count: number;
  whole: boolean;
  text: number;
}
