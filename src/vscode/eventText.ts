import type { Tasks } from './tasks.ts';
import type { TextDocuments } from './texts.ts';

/**
 * Opens the whole of what a panel shows cut, as plain text: nothing of it is run or rendered.
 * @param number of the event
 */
export async function showEventText(
  { tasks, texts }: { tasks: Tasks; texts: TextDocuments },
  id: string,
  number: number,
): Promise<void> {
  const reading = new AbortController();
  try {
    const service = await tasks.open();
    for await (const batch of service.events(id, number - 1, reading.signal)) {
      const event = batch.find(({ n }) => n === number);
      if (event === undefined) continue;
      const text =
        'text' in event && typeof event.text === 'string' ? event.text : JSON.stringify(event, undefined, 2);
      await texts.show(`Event ${number}.txt`, text);
      return;
    }
  } finally {
    reading.abort();
  }
}
