import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { pack } from 'tar-stream';
import { isAbort, SallyportError } from '../base/errors.ts';
import { ensureBase } from './baseImage.ts';
import type { ImageFacts, ImageRecipe } from './engine.ts';
import { engineFailure, messageOf, statusOf } from './failures.ts';
import { followProgress, ProgressFailure } from './progress.ts';
import { accept, ImageConfigInspection, ImageInspection } from './schemas.ts';

/** In the build context; a name that no file of a user's has. */
const dockerfileName = '.sallyport.Dockerfile';

/** True when the engine has an image under this name. */
export async function hasImage(docker: Docker, tag: string): Promise<boolean> {
  try {
    await docker.getImage(tag).inspect();
    return true;
  } catch (thrown) {
    if (statusOf(thrown) === 404) return false;
    throw engineFailure(thrown, 'looking for an image');
  }
}

/** When an image was made and how large it is; undefined when the engine has none under this name. */
export async function describeImage(
  docker: Docker,
  tag: string,
): Promise<{ createdAt: number; bytes: number } | undefined> {
  try {
    const answer: unknown = await docker.getImage(tag).inspect();
    const { Created, Size } = accept(ImageInspection, answer, 'inspect image');
    return { createdAt: Date.parse(Created), bytes: Size };
  } catch (thrown) {
    if (statusOf(thrown) === 404) return undefined;
    throw engineFailure(thrown, 'looking for an image');
  }
}

/** What an image says of itself; undefined when the engine has none under this name. */
export async function imageFacts(docker: Docker, reference: string): Promise<ImageFacts | undefined> {
  try {
    const answer: unknown = await docker.getImage(reference).inspect();
    const { Id, Os, Architecture, Config } = accept(ImageConfigInspection, answer, 'inspect image');
    const env = (Config?.Env ?? []).map((pair) => {
      const at = pair.indexOf('=');
      return at === -1 ? ([pair, ''] as const) : ([pair.slice(0, at), pair.slice(at + 1)] as const);
    });
    return {
      id: Id,
      platform: `${Os ?? 'linux'}/${Architecture ?? 'amd64'}`,
      env: Object.fromEntries(env),
      volumes: Object.keys(Config?.Volumes ?? {}),
    };
  } catch (thrown) {
    if (statusOf(thrown) === 404) return undefined;
    throw engineFailure(thrown, 'looking for an image');
  }
}

/** Pulls an image of the user's. Errors: image_base_unavailable, disk_full, engine_gone. */
export async function pullImage(
  docker: Docker,
  reference: string,
  onProgress: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  onProgress(`Pulling ${reference}`);
  try {
    await followProgress(await docker.pull(reference, { abortSignal: signal }), onProgress);
  } catch (thrown) {
    if (signal.aborted) throw abortOf(signal);
    if (isAbort(thrown) || (!(thrown instanceof ProgressFailure) && statusOf(thrown) === undefined))
      throw engineFailure(thrown, 'pulling an image');
    throw imageUnavailable(reference, messageOf(thrown), thrown);
  }
  // Some engines end a failed pull without an error line.
  if (!(await hasImage(docker, reference)))
    throw imageUnavailable(reference, 'the engine stopped without an image');
}

function imageUnavailable(reference: string, reason: string, cause?: unknown): SallyportError {
  return new SallyportError(
    'image_base_unavailable',
    `The image ${reference} is not on the engine and cannot be pulled: ${reason}`,
    'Look at its name, the registry and the proxy of the engine. If the registry asks who you are, pull the image with your own tools first: Sallyport then takes it as it is there.',
    { cause },
  );
}

/**
 * Builds an image. Cancelling ends the connection, upon which engines give up. Errors: image_build_failed,
 * image_base_unavailable, disk_full, engine_gone.
 */
export async function buildImage(
  docker: Docker,
  recipe: ImageRecipe,
  onProgress: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (recipe.base !== undefined && !(await hasImage(docker, recipe.base)))
    await ensureBase(docker, recipe.base, onProgress, signal);
  signal?.throwIfAborted();
  onProgress(`Building ${recipe.tag}`);
  try {
    const answer = await docker.buildImage(context(recipe), {
      t: recipe.tag,
      dockerfile: dockerfileName,
      buildargs: recipe.buildArgs,
      rm: true,
      forcerm: true,
      ...(signal === undefined ? {} : { abortSignal: signal }),
    });
    await followProgress(answer, onProgress);
  } catch (thrown) {
    if (signal?.aborted === true) throw abortOf(signal);
    if (isAbort(thrown) || (!(thrown instanceof ProgressFailure) && statusOf(thrown) === undefined)) {
      throw engineFailure(thrown, 'building the sandbox image');
    }
    throw buildFailed(recipe, thrown);
  }
  // Podman ends some failed builds without an error line.
  if (!(await hasImage(docker, recipe.tag)))
    throw buildFailed(recipe, new Error('the engine stopped without an image'));
}

function abortOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new DOMException('Aborted', 'AbortError');
}

function buildFailed({ told }: ImageRecipe, thrown: unknown): SallyportError {
  const output = thrown instanceof ProgressFailure ? thrown.output.slice(-12) : [];
  return new SallyportError(
    'image_build_failed',
    [`${told?.what ?? 'The sandbox image'} could not be built: ${messageOf(thrown)}`, ...output].join('\n'),
    told?.mend ??
      "Check that the engine's builds reach Debian's packages and the npm registry (HTTP_PROXY, HTTPS_PROXY), then try again.",
    { cause: thrown },
  );
}

/** The build context as a tar stream. Times are fixed, so that the same content is the same layer. */
function context(recipe: ImageRecipe): Readable {
  const tar = pack();
  const mtime = new Date(0);
  tar.entry({ name: dockerfileName, mtime }, recipe.dockerfile);
  for (const { path, content, mode, link } of recipe.files) {
    if (link !== undefined) tar.entry({ name: path, type: 'symlink', linkname: link, mtime });
    else tar.entry({ name: path, mode: mode ?? 0o644, mtime }, Buffer.from(content));
  }
  tar.finalize();
  return tar as unknown as Readable;
}
