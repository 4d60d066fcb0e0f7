import { SallyportError } from '../../base/errors.ts';
import { type EgressMode, readRule, registryRules } from '../../protocol/egress.ts';
import { isImageReference } from '../../protocol/grammar.ts';
import type { KeepPolicy } from '../../runner/keptSandboxes.ts';
import { MountWishes } from '../../runner/mounts.ts';
import type { UserPolicy } from '../../runner/userPolicy.ts';

/** What the settings say about the network, money and the container; an empty text or zero is not set. */
export interface PolicySettings {
  mode: EgressMode;
  rules: string[];
  includeRegistries: boolean;
  holdSeconds: number;
  proxy: string;
  /** NO_PROXY of the environment. */
  noProxy: string;
  extraCa: string;
  perTaskUsd: number;
  perDayUsd: number;
  runtime: string;
  readOnlyRoot: boolean;
  image?: string;
  dockerfile?: string;
  /** As it stands in the settings. */
  mounts?: unknown;
  commitMessage?: string;
  keep?: KeepPolicy;
}

/**
 * The policy that the settings mean. What cannot be right is refused and not left out: a wall that is not where the user
 * put it is worse than an error.
 * @throws SallyportError invalid_rule, invalid_input
 */
export function policyOf(settings: PolicySettings): UserPolicy {
  for (const rule of settings.rules) {
    const read = readRule(rule);
    if (typeof read === 'string') {
      throw new SallyportError(
        'invalid_rule',
        `The setting sallyport.egress.rules holds a rule that cannot be read. ${read}`,
        'Correct it in the settings.',
      );
    }
  }
  const proxyProblem = settings.proxy === '' ? undefined : problemWithProxy(settings.proxy);
  if (proxyProblem !== undefined) {
    throw new SallyportError(
      'invalid_input',
      `The setting sallyport.network.proxy does not fit. ${proxyProblem}`,
      'Correct it in the settings, or leave it empty.',
    );
  }
  if (settings.runtime !== '' && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/.test(settings.runtime)) {
    throw new SallyportError(
      'invalid_input',
      'The setting sallyport.sandbox.runtime is no name of a runtime.',
      'Name one that your engine knows, such as runsc, or leave it empty.',
    );
  }
  const mounts = MountWishes.safeParse(settings.mounts ?? []);
  if (!mounts.success) {
    throw new SallyportError(
      'invalid_input',
      'The setting sallyport.sandbox.mounts is no list of mounts.',
      'Each is a text such as /data:/data:ro, or an object with source, target and readonly.',
    );
  }
  if (settings.image !== undefined && settings.image !== '' && !isImageReference(settings.image)) {
    throw new SallyportError(
      'invalid_input',
      'The setting sallyport.sandbox.image is no reference of an image.',
      'It looks like registry.example.com/team/tools:1.2, in small letters; or leave it empty.',
    );
  }
  return {
    egress: {
      mode: settings.mode,
      rules: [
        ...(settings.includeRegistries ? registryRules : []),
        ...settings.rules.map((rule) => rule.trim()),
      ],
    },
    holdMs: Math.round(settings.holdSeconds * 1000),
    network:
      settings.proxy === ''
        ? {}
        : { proxy: settings.proxy, ...(settings.noProxy === '' ? {} : { noProxy: settings.noProxy }) },
    ...(settings.perTaskUsd > 0 ? { budgetUsd: settings.perTaskUsd } : {}),
    ...(settings.perDayUsd > 0 ? { dayBudgetUsd: settings.perDayUsd } : {}),
    isolation: {
      readonlyRoot: settings.readOnlyRoot,
      ...(settings.runtime === '' ? {} : { runtime: settings.runtime }),
      ...(settings.image ? { image: settings.image } : {}),
      ...(settings.dockerfile ? { dockerfile: settings.dockerfile } : {}),
      ...(mounts.data.length === 0 ? {} : { mounts: mounts.data }),
    },
    ...(settings.extraCa === '' ? {} : { extraCaFile: settings.extraCa }),
    ...(settings.commitMessage ? { commitMessage: settings.commitMessage } : {}),
    ...(settings.keep === undefined ? {} : { keep: settings.keep }),
  };
}

/** The sentence never holds the URL: it can have a password in it. */
function problemWithProxy(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol))
    return 'It looks like http://proxy.example.com:3128.';
  if (url.hostname === '') return 'It names no host.';
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') return 'It has no path.';
  return undefined;
}

/** Reads an amount that was typed, in US dollars: null for none, a sentence for what is no amount. */
export function readUsd(text: string): { usd: number | null } | string {
  const clean = text
    .trim()
    .replace(/^\$\s*/, '')
    .replace(/\s*(usd)?$/i, '');
  if (/^(none|no limit|0+([.,]0+)?|)$/i.test(clean)) return { usd: null };
  if (!/^\d{1,7}([.,]\d{1,4})?$/.test(clean))
    return 'An amount in US dollars, such as 5 or 2.50. Empty: no limit.';
  const usd = Number(clean.replace(',', '.'));
  return usd > 1_000_000 ? 'At most 1,000,000.' : { usd };
}
