import type { ByteStream } from '../protocol/runner.ts';

/** What answers on an engine's socket. */
export interface EngineInfo {
  kind: 'docker' | 'podman';
  version: string;
  apiVersion: string;
  /** `linux/amd64`, `linux/arm64`. */
  platform: string;
  rootless: boolean;
  /** The socket path or URL. */
  address: string;
  /** Where the address was found, for people: "DOCKER_HOST", "Docker context desktop-linux", "/var/run/docker.sock". */
  source: string;
}

export interface ContainerSpec {
  name: string;
  image: string;
  /** Whole command: replaces the image's entry point. */
  command: string[];
  user?: string;
  env: Record<string, string>;
  labels: Record<string, string>;
  network: 'none' | 'bridge';
  limits: { memoryBytes: number; cpus: number; pids: number };
  volumes: { name: string; target: string; readonly: boolean }[];
  workingDir?: string;
}

export interface ContainerState {
  id: string;
  name: string;
  labels: Record<string, string>;
  status: 'created' | 'running' | 'exited';
  exitCode?: number;
  oomKilled: boolean;
}

export interface Exec {
  stdout: ByteStream;
  /** Resolves when stdout has ended: the exit code, and the end of stderr (at most 64 KiB). */
  done: Promise<{ exitCode: number; stderr: string }>;
}

/** Everything an image is built from. The tag holds a hash of the rest, so that a changed recipe is a new image. */
export interface ImageRecipe {
  tag: string;
  /** The image that the Dockerfile starts from. */
  base: string;
  dockerfile: string;
  /** Files of the build context by path. */
  files: { path: string; content: Uint8Array; mode?: number }[];
  buildArgs: Record<string, string>;
}

/**
 * A container engine with the Docker API: Docker, Podman, and what else speaks it. Names pass a grammar first. Every
 * failure is a SallyportError; an engine that goes away is `engine_gone`.
 */
export interface Engine {
  readonly info: EngineInfo;
  hasImage(tag: string): Promise<boolean>;
  /** Builds the image unless it is there; the base is pulled, or made where it cannot be. Progress is one line a call. */
  ensureImage(recipe: ImageRecipe, onProgress: (line: string) => void, signal?: AbortSignal): Promise<void>;
  createVolume(name: string, labels: Record<string, string>): Promise<void>;
  /** Removes it if it is there. */
  removeVolume(name: string): Promise<void>;
  listVolumes(labels: Record<string, string>): Promise<{ name: string; labels: Record<string, string> }[]>;
  /** Creates a container, hardened (engine/hardening), not started. Resolves to its id. */
  create(spec: ContainerSpec): Promise<string>;
  start(id: string): Promise<void>;
  /** SIGTERM, then SIGKILL after `graceSeconds`. A container that is not running is left alone. */
  stop(id: string, graceSeconds: number): Promise<void>;
  /** Removes it if it is there, running or not, with its anonymous volumes. */
  remove(id: string): Promise<void>;
  inspect(id: string): Promise<ContainerState | undefined>;
  /** Containers in any state with all of these labels. */
  list(labels: Record<string, string>): Promise<ContainerState[]>;
  /** Resolves when the container is not running. */
  wait(id: string, signal?: AbortSignal): Promise<void>;
  /**
   * What the container wrote to stdout, from its first byte, then live until it ends or `signal` aborts. Never stalls
   * the container: what the reader does not take yet is kept. After a break some bytes can come twice; lines are whole.
   */
  logs(id: string, signal: AbortSignal): ByteStream;
  /** Runs a program in a running container; `stdin` is written to it as it comes. No shell. */
  exec(
    id: string,
    argv: string[],
    options?: { stdin?: ByteStream; user?: string; signal?: AbortSignal },
  ): Promise<Exec>;
  dispose(): void;
}
