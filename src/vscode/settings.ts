import * as vscode from 'vscode';
import * as z from 'zod/mini';
import type { ModelSource } from '../credentials/discover.ts';
import { defaultLimits, type Limits, SnapshotMode } from '../protocol/task.ts';

/** The settings of the manifest, checked: a value that does not fit counts as not set. */
export interface Settings {
  engineSocket: string;
  dataFolder: string;
  modelSource: ModelSource;
  modelName: string;
  snapshot: SnapshotMode | 'ask';
  limits: Limits;
}

const within = (min: number, max: number, fallback: number): z.ZodMiniType<number> =>
  z.catch(z.number().check(z.minimum(min), z.maximum(max)), fallback);
const text = z.catch(z.string(), '');

const schemas = {
  'engine.socket': text,
  dataFolder: text,
  'model.source': z.catch(z.enum(['auto', 'credentials', 'demonstration']), 'auto'),
  'model.name': text,
  'task.snapshot': z.catch(z.enum(['ask', ...SnapshotMode.options]), 'ask'),
  'task.timeLimitMinutes': within(1, 1440, defaultLimits.timeMs / 60_000),
  'task.memoryGiB': within(0.5, 1024, defaultLimits.memoryBytes / 2 ** 30),
  'task.cpus': within(0.25, 256, defaultLimits.cpus),
  'task.processes': within(64, 65_536, defaultLimits.pids),
};

export function readSettings(): Settings {
  const configuration = vscode.workspace.getConfiguration('sallyport');
  const read = <K extends keyof typeof schemas>(key: K): z.infer<(typeof schemas)[K]> =>
    schemas[key].parse(configuration.get(key)) as z.infer<(typeof schemas)[K]>;
  return {
    engineSocket: read('engine.socket').trim(),
    dataFolder: read('dataFolder').trim(),
    modelSource: read('model.source'),
    modelName: read('model.name').trim(),
    snapshot: read('task.snapshot'),
    limits: {
      timeMs: Math.round(read('task.timeLimitMinutes') * 60_000),
      memoryBytes: Math.round(read('task.memoryGiB') * 2 ** 30),
      cpus: read('task.cpus'),
      pids: Math.round(read('task.processes')),
      diskBytes: defaultLimits.diskBytes,
    },
  };
}
