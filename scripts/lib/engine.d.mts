export interface FoundEngine {
  address: string;
  kind: 'docker' | 'podman';
  started: boolean;
  /** Of the engine that was started, where it is a child of ours. */
  pid?: number | undefined;
}
type Log = (line: string) => void;
type Ask = (question: string) => Promise<boolean>;

export function ensureDocker(options?: { ask?: Ask; log?: Log; onlyDocker?: boolean }): Promise<FoundEngine>;
export function ensurePodmanService(options?: { log?: Log; folder?: string }): Promise<FoundEngine>;
export function startPrivateDocker(options: {
  folder: string;
  args?: string[];
}): Promise<FoundEngine & { pid: number }>;
export function ensurePackages(
  names: string[],
  options: { why: string; ask?: Ask; log?: Log },
): Promise<void>;
