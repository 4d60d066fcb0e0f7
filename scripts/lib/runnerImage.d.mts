import type { ImageRecipe } from '../../src/engine/engine.ts';

export const runnerTag: string;
export function runnerRecipe(tag?: string): Promise<ImageRecipe>;
