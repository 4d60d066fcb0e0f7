import type { ByteStream } from '../protocol/runner.ts';
import type { TerminalSize } from '../protocol/terminal.ts';

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
  /** False where the engine or its kernel has no seccomp: every system call is open there. */
  seccomp: boolean;
  cgroupVersion?: 1 | 2;
  /** The limits of a container that the engine says it cannot hold, in words: "memory", "processes". */
  ignoredLimits: string[];
  /** Names that a container's `runtime` may have. */
  runtimes: string[];
  storageDriver: string;
  /** The file system below the storage, such as `extfs`, `xfs`; undefined where the engine does not tell. */
  backingFilesystem?: string;
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
  /**
   * `diskBytes` is held by the engine where its storage can (see `StorageOpt` in engine/client); elsewhere it is the
   * largest file, and the sum has to be watched: runner/diskWatch.
   */
  limits: { memoryBytes: number; cpus: number; pids: number; diskBytes?: number };
  /** An empty volume is filled with what the image has at the target, with owner and mode, unless it is `asIs`. */
  volumes: { name: string; target: string; readonly: boolean; asIs?: boolean }[];
  /** Folders and files of the engine's machine. What is mounted below a source stays out. */
  binds?: { source: string; target: string; readonly: boolean }[];
  workingDir?: string;
  /** A runtime of the engine's by name; the engine's own when undefined. */
  runtime?: string;
  /** Nothing can be written but `volumes`, `kept` and `scratch`. */
  readonlyRoot?: boolean;
  /** Folders on the engine's disk that begin with the image's content, outlive a restart, and go with the container. */
  kept?: string[];
  /** Folders in memory for everybody, at most `bytes` each. Empty again after a restart. */
  scratch?: { path: string; bytes: number }[];
  /** Which system calls are open: what people work with, debuggers too, or only what a service of ours needs. */
  syscalls?: 'work' | 'service';
}

export interface ContainerState {
  id: string;
  name: string;
  labels: Record<string, string>;
  status: 'created' | 'running' | 'exited';
  /** It is running, and stands still: see `Engine.pause`. */
  paused?: true;
  exitCode?: number;
  oomKilled: boolean;
}

export interface Exec {
  stdout: ByteStream;
  /**
   * Resolves when stdout has ended: the exit code, and the end of stderr (at most 64 KiB). The code is -1 where the engine
   * does not tell it.
   */
  done: Promise<{ exitCode: number; stderr: string }>;
}

/** A program of a container's that has a terminal of its own. */
export interface EngineTerminal {
  /** What the program prints, both streams in one. It waits for a reader that does not take it. Read once. */
  output: ByteStream;
  /** What is typed. Resolves when there is room for more, or nobody reads it any more. */
  write(data: Uint8Array): Promise<void>;
  resize(size: TerminalSize): Promise<void>;
  /** Resolves when the program has ended and its output is through: its exit code, -1 where the engine does not tell it. */
  ended: Promise<number>;
}

/** Everything an image is built from. The tag holds a hash of the rest, so that a changed recipe is a new image. */
export interface ImageRecipe {
  tag: string;
  /** The image that the Dockerfile starts from, where it is to be had before the build; else the build brings it. */
  base?: string;
  dockerfile: string;
  /** Files of the build context by path; a symbolic link has where it leads, and no content. */
  files: { path: string; content: Uint8Array; mode?: number; link?: string }[];
  buildArgs: Record<string, string>;
  /** What is built, for people, and what to do when it fails; the sandbox image when it is not said. */
  told?: { what: string; mend: string };
}

/** What an image says of itself. */
export interface ImageFacts {
  /** Names this very image, whatever becomes of its tag. */
  id: string;
  /** `linux/amd64`, as in `EngineInfo`. */
  platform: string;
  env: Record<string, string>;
  /** Folders for which the engine makes volumes by itself. */
  volumes: string[];
}

/**
 * A container engine with the Docker API: Docker, Podman, and what else speaks it. Names pass a grammar first. Every
 * failure is a SallyportError; an engine that goes away is `engine_gone`.
 */
export interface Engine {
  readonly info: EngineInfo;
  hasImage(tag: string): Promise<boolean>;
  /** When an image was made, in milliseconds since the epoch, and its size; undefined when it is not there. */
  image(tag: string): Promise<{ createdAt: number; bytes: number } | undefined>;
  /** Undefined when the engine has no such image. */
  imageFacts(reference: string): Promise<ImageFacts | undefined>;
  /** Pulls an image by its whole reference, with tag or digest. Fails with `image_base_unavailable`. */
  pull(reference: string, onProgress: (line: string) => void, signal?: AbortSignal): Promise<void>;
  /** Builds the image unless it is there; the base is pulled, or made where it cannot be. Progress is one line a call. */
  ensureImage(recipe: ImageRecipe, onProgress: (line: string) => void, signal?: AbortSignal): Promise<void>;
  createVolume(name: string, labels: Record<string, string>): Promise<void>;
  /** Removes it if it is there. */
  removeVolume(name: string): Promise<void>;
  listVolumes(labels: Record<string, string>): Promise<{ name: string; labels: Record<string, string> }[]>;
  /** Creates a container, hardened (engine/hardening), not started. Resolves to its id. */
  create(spec: ContainerSpec): Promise<string>;
  start(id: string): Promise<void>;
  /** Lets every process of a container stand still, at once. What is not running or is paused already is left alone. */
  pause(id: string): Promise<void>;
  /** Lets them go on. A container that is not paused is left alone. */
  unpause(id: string): Promise<void>;
  /**
   * SIGTERM, then SIGKILL after `graceSeconds`. A container that is not running is left alone. One that is paused goes on
   * for its grace; without any it is killed where it stands.
   */
  stop(id: string, graceSeconds: number): Promise<void>;
  /** Removes it if it is there, running or not, with its anonymous volumes. */
  remove(id: string): Promise<void>;
  inspect(id: string): Promise<ContainerState | undefined>;
  /** Containers in any state with all of these labels. */
  list(labels: Record<string, string>): Promise<ContainerState[]>;
  /**
   * How much a container has written to the engine's disk, in bytes: its own layer and its `kept` folders. Undefined when
   * it is gone. The engine walks through all of it, so this takes its time.
   */
  written(id: string, signal?: AbortSignal): Promise<number | undefined>;
  /** How many files, folders and links of its own layer a container has made, changed or deleted; those of volumes are not seen. */
  changedFiles(id: string, signal?: AbortSignal): Promise<number | undefined>;
  /** Resolves when the container is not running. */
  wait(id: string, signal?: AbortSignal): Promise<void>;
  /**
   * What the container wrote to stdout, from its first byte, then live until it ends or `signal` aborts. Never stalls
   * the container: what the reader does not take yet is kept. After a break some bytes can come twice; lines are whole.
   */
  logs(id: string, signal: AbortSignal): ByteStream;
  /** Runs a program in a running container, in a paused one when it goes on; `stdin` is written to it as it comes. No shell. */
  exec(
    id: string,
    argv: string[],
    options?: { stdin?: ByteStream; user?: string; signal?: AbortSignal },
  ): Promise<Exec>;
  /**
   * Runs a program in a running container, on a terminal. No shell. When `signal` aborts the streams break; the program
   * itself is left to its fate.
   */
  terminal(
    id: string,
    argv: string[],
    options: {
      size: TerminalSize;
      user?: string;
      /** On top of the container's own environment. */
      env?: Record<string, string>;
      workingDir?: string;
      signal?: AbortSignal;
    },
  ): Promise<EngineTerminal>;
  dispose(): void;
}
