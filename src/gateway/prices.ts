/**
 * What models cost, in US dollars for a million tokens: list prices of the Claude API, which Bedrock and Vertex AI have too.
 * Source: https://platform.claude.com/docs/en/about-claude/pricing and the models' own pages there, read 2026-11-21.
 */
export interface Price {
  input: number;
  output: number;
  cacheRead: number;
  /** Kept for 5 minutes. */
  cacheWrite: number;
  /** Kept for an hour. */
  cacheWriteHour: number;
}

/** What an answer used, in tokens, as far as it matters for the price. */
export interface Priced {
  input: number;
  output: number;
  cacheRead: number;
  cacheWrite: number;
  cacheWriteHour: number;
  /** Answered in fast mode. */
  fast: boolean;
}

interface ModelPrice {
  /** Family and version, as in `opus-4.5`. */
  models: readonly string[];
  price: Price;
  /** For every token of a request whose prompt is longer than this. */
  long?: { above: number; price: Price };
  /** How many times dearer fast mode is. */
  fast?: number;
  /** Costs a tenth more where the service promises a region. */
  regional: boolean;
}

/** A cache's prices are most often these parts of the input's. */
function price(input: number, output: number, cacheRead = input * 0.1): Price {
  return { input, output, cacheRead, cacheWrite: input * 1.25, cacheWriteHour: input * 2 };
}

const models: readonly ModelPrice[] = [
  { models: ['fable-5.1', 'mythos-5.1'], price: price(10, 50, 0.25), regional: true },
  { models: ['fable-5', 'mythos-5'], price: price(10, 50), regional: true },
  { models: ['opus-5.5'], price: price(4, 20, 0.2), fast: 2, regional: true },
  { models: ['opus-5', 'opus-4.8'], price: price(5, 25), fast: 2, regional: true },
  { models: ['opus-4.7', 'opus-4.6'], price: price(5, 25), fast: 6, regional: true },
  { models: ['opus-4.5'], price: price(5, 25), regional: true },
  { models: ['opus-4.1', 'opus-4', 'opus-3'], price: price(15, 75), regional: false },
  { models: ['sonnet-5.5'], price: price(2, 10, 0.1), regional: true },
  { models: ['sonnet-5'], price: price(2, 10), regional: true },
  { models: ['sonnet-4.6'], price: price(3, 15), regional: true },
  {
    models: ['sonnet-4.5'],
    price: price(3, 15),
    long: { above: 200_000, price: price(6, 22.5) },
    regional: true,
  },
  {
    models: ['sonnet-4'],
    price: price(3, 15),
    long: { above: 200_000, price: price(6, 22.5) },
    regional: false,
  },
  { models: ['sonnet-3.7', 'sonnet-3.5', 'sonnet-3'], price: price(3, 15), regional: false },
  {
    models: ['haiku-5.5'],
    price: price(0.1, 0.5),
    long: { above: 100_000, price: price(0.5, 2.5) },
    regional: true,
  },
  { models: ['haiku-4.5'], price: price(1, 5), regional: true },
  { models: ['haiku-3.5'], price: price(0.8, 4), regional: false },
  {
    models: ['haiku-3'],
    price: { input: 0.25, output: 1.25, cacheRead: 0.03, cacheWrite: 0.3, cacheWriteHour: 0.5 },
    regional: false,
  },
];

const byModel = new Map(models.flatMap((entry) => entry.models.map((name) => [name, entry] as const)));

/** What a model costs that is not known: the dearest that is, so that a budget is kept rather than passed. */
const dearest: ModelPrice = {
  models: [],
  price: models.map((entry) => entry.price).reduce((a, b) => (b.output > a.output ? b : a)),
  fast: Math.max(...models.map(({ fast = 1 }) => fast)),
  regional: true,
};

const newName = /claude-(fable|mythos|opus|sonnet|haiku)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/;
const oldName = /claude-(\d)(?:[-.](\d))?-(opus|sonnet|haiku)/;

/**
 * Family and version of a model, as in `opus-4.5`, from its name at any service: `claude-opus-4-5-20251101`,
 * `eu.anthropic.claude-opus-4-5-20251101-v1:0`, `claude-opus-4-5@20251101`, an ARN with such a name. Undefined for others.
 */
export function modelVersion(name: string): string | undefined {
  const found = newName.exec(name);
  if (found !== null) {
    const [, family = '', major = '', minor = '0'] = found;
    return `${family}-${major}${minor === '0' ? '' : `.${minor}`}`;
  }
  const [, major, minor, family] = oldName.exec(name) ?? [];
  return family === undefined
    ? undefined
    : `${family}-${major ?? ''}${minor === undefined ? '' : `.${minor}`}`;
}

/** True for a model whose price is known. */
export function isPriced(name: string): boolean {
  return byModel.has(modelVersion(name) ?? '');
}

/**
 * What an answer costs, in US dollars.
 * @param regional the service promises that it was made in a region
 */
export function costOf(name: string, used: Priced, regional: boolean): { usd: number; estimated: boolean } {
  const known = byModel.get(modelVersion(name) ?? '');
  const model = known ?? dearest;
  const prompt = used.input + used.cacheRead + used.cacheWrite + used.cacheWriteHour;
  const rate = model.long !== undefined && prompt > model.long.above ? model.long.price : model.price;
  const tokens =
    used.input * rate.input +
    used.output * rate.output +
    used.cacheRead * rate.cacheRead +
    used.cacheWrite * rate.cacheWrite +
    used.cacheWriteHour * rate.cacheWriteHour;
  const fast = used.fast ? (model.fast ?? dearest.fast ?? 1) : 1;
  return {
    usd: Number(((tokens / 1e6) * fast * (regional && model.regional ? 1.1 : 1)).toFixed(9)),
    estimated: known === undefined || (used.fast && known.fast === undefined),
  };
}
