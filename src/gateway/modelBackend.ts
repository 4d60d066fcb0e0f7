import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { ModelCall } from './modelCall.ts';

/** A request of the agent's that may pass. */
export interface ModelRequest {
  call: ModelCall;
  method: string;
  /** As they came from the sandbox. */
  headers: IncomingHttpHeaders;
  /** What was checked, written anew. */
  body: Buffer;
}

export interface ModelAnswer {
  status: number;
  /** Fit to be passed on. */
  headers: OutgoingHttpHeaders;
  body: Readable;
  /** Costs nothing, whatever it says that it used. */
  free: boolean;
}

/** What answers requests to the model: its service, or a script in place of one. */
export interface ModelBackend {
  /** There is no service behind it that wants money for what it began. */
  readonly local: boolean;
  /** For the ledger. */
  readonly host: string;
  readonly port: number;
  /** Resolves with the head of the answer. Throws `ModelFailure` when there is none. */
  ask(request: ModelRequest, signal: AbortSignal): Promise<ModelAnswer>;
}

/** Why there is no answer, a sentence for the agent, and the HTTP status that it gets with it. */
export class ModelFailure extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ModelFailure';
    this.status = status;
  }
}
