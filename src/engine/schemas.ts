import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';

/** The parts of the engines' answers that are used. Docker and Podman differ in what they leave out or set to null. */

export const Version = z.object({
  Version: z.string(),
  ApiVersion: z.string(),
  Os: z.optional(z.string()),
  Arch: z.optional(z.string()),
  Components: z.nullish(z.array(z.object({ Name: z.string() }))),
});

export const Info = z.object({
  OSType: z.optional(z.string()),
  SecurityOptions: z.nullish(z.array(z.string())),
  /** Podman's own word. */
  Rootless: z.optional(z.boolean()),
  CgroupVersion: z.optional(z.string()),
  MemoryLimit: z.optional(z.boolean()),
  SwapLimit: z.optional(z.boolean()),
  PidsLimit: z.optional(z.boolean()),
  CpuCfsQuota: z.optional(z.boolean()),
  Runtimes: z.nullish(z.record(z.string(), z.unknown())),
  DefaultRuntime: z.optional(z.string()),
  Driver: z.optional(z.string()),
  DriverStatus: z.nullish(z.array(z.array(z.string()))),
});
export type Info = z.infer<typeof Info>;

const Labels = z.nullish(z.record(z.string(), z.string()));

export const Inspection = z.object({
  Id: z.string(),
  Name: z.string(),
  Config: z.object({ Labels }),
  State: z.object({
    Status: z.string(),
    Running: z.boolean(),
    ExitCode: z.number(),
    OOMKilled: z.optional(z.boolean()),
  }),
});
export type Inspection = z.infer<typeof Inspection>;

/** A container with what it wrote, which is only there when it is asked for. */
export const SizedInspection = z.object({
  SizeRw: z.optional(z.number()),
  Mounts: z.nullish(
    z.array(
      z.object({ Type: z.optional(z.string()), Name: z.optional(z.string()), RW: z.optional(z.boolean()) }),
    ),
  ),
});

/** What the engine's volumes take; Docker says -1 where it did not measure. */
export const DiskUsage = z.object({
  Volumes: z.nullish(
    z.array(z.object({ Name: z.string(), UsageData: z.nullish(z.object({ Size: z.number() })) })),
  ),
});

/** What an image brings along for its containers. */
export const ImageConfigInspection = z.object({
  Id: z.string(),
  Os: z.optional(z.string()),
  Architecture: z.optional(z.string()),
  Config: z.nullish(
    z.object({
      Env: z.nullish(z.array(z.string())),
      Volumes: z.nullish(z.record(z.string(), z.unknown())),
    }),
  ),
});

export const ImageInspection = z.object({ Created: z.string(), Size: z.number() });

export const ContainerList = z.array(z.object({ Id: z.string() }));
export const VolumeList = z.object({ Volumes: z.nullish(z.array(z.object({ Name: z.string(), Labels }))) });
export const ExecInspection = z.object({ Running: z.boolean(), ExitCode: z.nullish(z.number()) });

/** One line of a pull, an import or a build. */
export const Progress = z.object({
  stream: z.optional(z.string()),
  status: z.optional(z.string()),
  id: z.optional(z.string()),
  error: z.optional(z.string()),
  errorDetail: z.optional(z.object({ message: z.optional(z.string()) })),
  progressDetail: z.optional(z.object({ current: z.optional(z.number()), total: z.optional(z.number()) })),
});
export type Progress = z.infer<typeof Progress>;

/** Takes an engine's answer in, or says which of them is none that we know. */
export function accept<T>(schema: z.ZodMiniType<T>, answer: unknown, what: string): T {
  const result = schema.safeParse(answer);
  if (result.success) return result.data;
  throw new SallyportError(
    'engine_unsupported',
    `The engine's answer to "${what}" is not one of the Docker API.`,
    'Use Docker 19.03 or newer, or Podman 4 or newer.',
    { cause: result.error },
  );
}
