import { SallyportError } from '../base/errors.ts';
import type { CredentialSource } from '../credentials/source.ts';
import type { Surroundings } from '../credentials/surroundings.ts';
import type { ChosenSource, ModelSettings } from './modelSources.ts';

/** A source of the model's with the way to what it holds. */
export interface Candidate {
  source: CredentialSource;
  /** Whether it may be used without having been named. */
  automatic: boolean;
  /** Throws what is wrong with it. */
  open(signal: AbortSignal | undefined): Promise<ChosenSource>;
}

/** What the sources of a cloud are found in. */
export interface CloudContext {
  around: Surroundings;
  settings: ModelSettings;
}

/** A source that cannot be used: it is listed with the reason, and choosing it throws the same. */
export function broken(
  source: Omit<CredentialSource, 'detail' | 'mend' | 'purpose'>,
  automatic: boolean,
  problem: SallyportError,
): Candidate {
  return {
    source: { ...source, purpose: 'model', detail: problem.message, mend: problem.mend },
    automatic,
    open: () => Promise.reject(problem),
  };
}

/** For people: a switch of the Claude CLI's. */
export function isOn(value: string | undefined): boolean {
  return /^(?:1|true|yes|on)$/i.test(value?.trim() ?? '');
}

export function misconfigured(message: string, mend: string): SallyportError {
  return new SallyportError('cloud_misconfigured', message, mend);
}
