import type { SallyportError } from '../../src/base/errors.ts';
import type { ChosenSource, CredentialSource, ModelSources } from '../../src/runner/modelSources.ts';
import type { ResolvedModel } from '../../src/runner/taskService.ts';

/** Sources of credentials in memory. */
export class FakeModels implements ModelSources {
  sources: CredentialSource[] = [aSource()];
  chosen: (string | undefined)[] = [];
  checks: { model: string; deep: boolean }[] = [];
  /** Thrown by each check. */
  refusal: SallyportError | undefined;

  list(): Promise<CredentialSource[]> {
    return Promise.resolve(this.sources);
  }

  choose(wanted: string | undefined): Promise<ChosenSource> {
    this.chosen.push(wanted);
    const source = this.sources.find(({ id }) => id === wanted) ?? this.sources[0]!;
    return Promise.resolve({
      sourceId: source.id,
      label: source.label,
      demonstration: source.id === 'demonstration',
      upstream: { kind: 'demonstration' },
    });
  }

  check(model: ResolvedModel, options: { deep?: boolean } = {}): Promise<void> {
    this.checks.push({ model: model.label, deep: options.deep === true });
    return this.refusal === undefined ? Promise.resolve() : Promise.reject(this.refusal);
  }
}

export function aSource(change: Partial<CredentialSource> = {}): CredentialSource {
  return {
    id: 'env:ANTHROPIC_API_KEY',
    purpose: 'model',
    label: 'Anthropic API key from ANTHROPIC_API_KEY',
    state: 'ready',
    detail: 'From the environment.',
    ...change,
  };
}
