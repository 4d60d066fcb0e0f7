import * as z from 'zod/mini';
import type { Usage } from '../protocol/usage.ts';
import { isPriced, type Priced } from './prices.ts';

const Count = z.optional(z.nullable(z.number().check(z.nonnegative())));

/** The `usage` of an answer, of which later parts of a stream repeat what changed. */
const UsageIn = z.object({
  input_tokens: Count,
  output_tokens: Count,
  cache_read_input_tokens: Count,
  cache_creation_input_tokens: Count,
  cache_creation: z.optional(z.nullable(z.object({ ephemeral_1h_input_tokens: Count }))),
  speed: z.optional(z.nullable(z.string())),
  inference_geo: z.optional(z.nullable(z.string())),
});

const Message = z.object({ model: z.optional(z.string()), usage: z.optional(z.nullable(UsageIn)) });
/** An event of a stream, or a whole answer, as far as it tells of money. */
const Part = z.object({ type: z.optional(z.string()), message: z.optional(Message), ...Message.shape });

/** Characters of an event that are no text of the model's, about. */
const deltaFrame = 80;
/** As a model's own text is, about. */
const charactersPerToken = 4;

/** What one answer of the model's has used, from what of it was seen. */
export interface AnswerUsage {
  /** As the answer names it; undefined where it does not. */
  model: string | undefined;
  priced: Priced;
  usage: Usage;
  /** Counted from the length of what was seen, because the answer broke off before it said. */
  guessed: boolean;
  /** The answer says that it was made in a region, which costs more. */
  regional: boolean;
}

/** Adds up the parts of one answer: events of a stream, or the whole of it. */
export class UsageCount {
  private model: string | undefined;
  private readonly counts = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0 };
  private fast = false;
  private regional = false;
  private seen = false;
  private final = false;
  private characters = 0;
  private readonly requestBytes: number;

  /** @param requestBytes for an answer that breaks off before it says what the request was */
  constructor(requestBytes: number) {
    this.requestBytes = requestBytes;
  }

  /** One part, as JSON. What is none, or tells nothing, is left alone. */
  add(text: string): void {
    if (!text.includes('"usage"')) {
      if (text.includes('"content_block_delta"')) this.characters += Math.max(0, text.length - deltaFrame);
      return;
    }
    const part = Part.safeParse(parsed(text));
    if (!part.success) return;
    const { type, message } = part.data;
    const model = message?.model ?? part.data.model;
    if (model !== undefined) this.model = model;
    const usage = message?.usage ?? part.data.usage;
    if (usage === undefined || usage === null) return;
    this.seen = true;
    // `message_delta` has the last word on the output; a whole answer is of type `message`.
    if (type !== 'message_start') this.final = true;
    const { counts } = this;
    const hour = usage.cache_creation?.ephemeral_1h_input_tokens ?? counts.cacheWriteHour;
    const written = usage.cache_creation_input_tokens ?? counts.cacheWrite + counts.cacheWriteHour;
    counts.input = usage.input_tokens ?? counts.input;
    counts.output = usage.output_tokens ?? counts.output;
    counts.cacheRead = usage.cache_read_input_tokens ?? counts.cacheRead;
    counts.cacheWriteHour = Math.min(hour, written);
    counts.cacheWrite = written - counts.cacheWriteHour;
    if (usage.speed === 'fast') this.fast = true;
    if (usage.inference_geo === 'us') this.regional = true;
  }

  /** What it comes to, now. Whoever leaves an answer early has still spent what the model had made by then. */
  get total(): AnswerUsage {
    const counts = { ...this.counts };
    if (!this.seen) counts.input = Math.ceil(this.requestBytes / charactersPerToken);
    if (!this.final) counts.output = Math.max(counts.output, Math.ceil(this.characters / charactersPerToken));
    const { model, fast, regional } = this;
    return {
      model: model !== undefined && isPriced(model) ? model : undefined,
      priced: { ...counts, fast },
      usage: {
        inputTokens: counts.input,
        outputTokens: counts.output,
        cacheReadTokens: counts.cacheRead,
        cacheWriteTokens: counts.cacheWrite + counts.cacheWriteHour,
      },
      guessed: !this.final,
      regional,
    };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
