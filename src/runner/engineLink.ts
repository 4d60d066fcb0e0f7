import type { Disposable } from '../base/disposable.ts';
import type { Engine, ImageRecipe } from '../engine/engine.ts';
import { SharedWork } from './sharedWork.ts';

export interface EngineLinkOptions {
  connect: () => Promise<Engine>;
  recipe: () => Promise<ImageRecipe>;
}

/** The connection to this machine's engine, and the image that the sandboxes there are made of. */
export class EngineLink implements Disposable {
  private readonly options: EngineLinkOptions;
  private readonly imageWork: SharedWork<string>;
  private connection: Promise<Engine> | undefined;
  private imageTag: string | undefined;

  constructor(options: EngineLinkOptions) {
    this.options = options;
    this.imageWork = new SharedWork(async (report, signal) => {
      const engine = await this.engine();
      const recipe = await options.recipe();
      await engine.ensureImage(recipe, report, signal);
      this.imageTag = recipe.tag;
    });
  }

  /** The engine, connected on first use and anew after it went away. */
  engine(): Promise<Engine> {
    this.connection ??= this.options.connect().catch((thrown: unknown) => {
      this.connection = undefined;
      throw thrown;
    });
    return this.connection;
  }

  /** Forgets a connection that broke. */
  forget(): void {
    const broken = this.connection;
    this.connection = undefined;
    void broken?.then((engine) => engine.dispose()).catch(() => undefined);
  }

  /** Tag of the sandbox image, once it is there. */
  async image(report: (line: string) => void, signal: AbortSignal): Promise<string> {
    const engine = await this.engine();
    if (this.imageTag === undefined || !(await engine.hasImage(this.imageTag))) {
      await this.imageWork.join(report, signal);
    }
    if (this.imageTag === undefined) throw new Error('The image was built without a tag');
    return this.imageTag;
  }

  dispose(): void {
    void this.connection?.then((engine) => engine.dispose()).catch(() => undefined);
  }
}
