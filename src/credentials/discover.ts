import { asSallyportError, type SallyportError } from '../base/errors.ts';
import type { Upstream } from '../protocol/control.ts';
import { checkCredential, type Credential, type FoundCredential, labelOf } from './credential.ts';
import { nonEmpty } from './surroundings.ts';

export type ModelSource = 'auto' | 'credentials' | 'demonstration';

export type Environment = Readonly<Record<string, string | undefined>>;

export const demonstrationModel = {
  label: 'demonstration model',
  demonstration: true,
  upstream: { kind: 'demonstration' },
} satisfies { label: string; demonstration: boolean; upstream: Upstream };

/** A variable that holds a credential, or what is wrong with it. */
export type Variable = { name: string } & ({ found: FoundCredential } | { problem: SallyportError });

/**
 * The credentials that the environment holds, in the order in which they are used: ANTHROPIC_API_KEY,
 * ANTHROPIC_AUTH_TOKEN, CLAUDE_CODE_OAUTH_TOKEN. ANTHROPIC_BASE_URL goes with the first two.
 */
export function environmentCredentials(env: Environment): Variable[] {
  const baseUrl = nonEmpty(env['ANTHROPIC_BASE_URL']);
  const variables: Variable[] = [];
  const add = (name: string, kind: Credential['kind'], service: string | undefined): void => {
    const value = nonEmpty(env[name]);
    if (value === undefined) return;
    try {
      const given = { kind, value, ...(service === undefined ? {} : { baseUrl: service }) };
      const credential = checkCredential(given, name);
      variables.push({ name, found: { credential, label: labelOf(credential, name) } });
    } catch (thrown) {
      variables.push({ name, problem: asSallyportError(thrown) });
    }
  };
  add('ANTHROPIC_API_KEY', 'api_key', baseUrl);
  add('ANTHROPIC_AUTH_TOKEN', 'bearer', baseUrl);
  add('CLAUDE_CODE_OAUTH_TOKEN', 'oauth', undefined);
  return variables;
}

/**
 * The same, where one that cannot be right is a failure.
 * @throws SallyportError invalid_credential
 */
export function discover(env: Environment): FoundCredential[] {
  return environmentCredentials(env).map((variable) => {
    if ('problem' in variable) throw variable.problem;
    return variable.found;
  });
}

/** True when the demonstration model is asked for by the environment. */
export function demonstrationWanted(env: Environment): boolean {
  return env['SALLYPORT_DEMONSTRATION'] === '1';
}
