import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { ask } from './dial.ts';
import type { EngineInfo } from './engine.ts';
import { accept, DiskUsage, SizedInspection } from './schemas.ts';

/** The engine names volumes that have no name of ours with a number; ours are the task's workspace and home folder. */
const ownVolume = /^(?:[0-9a-f]{64}|sallyport-.+)$/;

/** What a container wrote to its own layer and to the volumes that it may write, in bytes. */
export async function writtenBytes(
  docker: Docker,
  { apiVersion }: Pick<EngineInfo, 'apiVersion'>,
  id: string,
  signal: AbortSignal,
): Promise<number> {
  const answer = await ask(docker, 'GET', `/containers/${id}/json?size=1`, { signal });
  const { SizeRw, Mounts } = accept(SizedInspection, answer, 'inspect with size');
  const own = (Mounts ?? [])
    .filter(({ Type, Name, RW }) => Type === 'volume' && RW === true && ownVolume.test(Name ?? ''))
    .map(({ Name }) => Name);
  if (own.length === 0) return SizeRw ?? 0;
  // Newer engines measure only what is asked for.
  const some = Number(apiVersion.split('.')[1]) >= 42 ? '?type=volume' : '';
  const { Volumes } = accept(
    DiskUsage,
    await ask(docker, 'GET', `/system/df${some}`, { signal }),
    'system df',
  );
  const sizes = (Volumes ?? [])
    .filter(({ Name }) => own.includes(Name))
    .map(({ UsageData }) => Math.max(0, UsageData?.Size ?? 0));
  return (SizeRw ?? 0) + sizes.reduce((sum, size) => sum + size, 0);
}

/** Ends the name of each entry of the engine's answer; within a name the quote would be escaped. */
const entryMark = Buffer.from('"Path":');

/** How many files of its own layer a container changed. Counted as it comes: the answer has a line for every one. */
export async function changedFiles(docker: Docker, id: string, signal: AbortSignal): Promise<number> {
  const path = `/containers/${id}/changes`;
  const answer = (await ask(docker, 'GET', path, { isStream: true, signal })) as Readable;
  let count = 0;
  let rest: Uint8Array = new Uint8Array();
  for await (const chunk of answer as AsyncIterable<Uint8Array>) {
    const bytes = Buffer.concat([rest, chunk]);
    for (let at = 0; (at = bytes.indexOf(entryMark, at)) !== -1; at += entryMark.length) count++;
    rest = bytes.subarray(Math.max(0, bytes.length - entryMark.length + 1));
  }
  return count;
}
