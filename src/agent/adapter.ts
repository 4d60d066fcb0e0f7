import type { AgentQuestion, QuestionAnswer } from '../protocol/question.ts';
import type { TaskSpec } from '../protocol/task.ts';
import type { FailureKind, SandboxBody } from '../protocol/taskEvent.ts';

/** What a coding agent needs to know about the sandbox. */
export interface AgentPlace {
  /** The model endpoint on the loopback, without a trailing slash. */
  baseUrl: string;
  /** Is worth something only at that endpoint, and only for this task. */
  token: string;
  /** The egress proxy on the loopback, without a trailing slash. */
  proxyUrl: string;
  home: string;
  workspace: string;
  /** Search path of the sandbox. */
  path: string;
}

export interface AgentCommand {
  argv: string[];
  /** The whole environment. */
  env: Record<string, string>;
  stdin: string;
  /** Files that are written before the start, by absolute path. */
  files: { path: string; content: string }[];
}

/** What the agent itself says about a failure. */
export interface Verdict {
  kind: FailureKind;
  /** What happened, a sentence. */
  message: string;
  /** What to do, a sentence. */
  mend: string;
}

/** A question that the agent waits on, with what the answer has to repeat. */
export interface OpenQuestion {
  question: AgentQuestion;
  input: Record<string, unknown>;
}

/** What one line of the agent's output says. */
export interface Reading {
  bodies: SandboxBody[];
  /** There when the line is the agent's final word and that is a failure. */
  verdict?: Verdict;
  /** The agent asks its user. */
  question?: OpenQuestion;
  /** Id of a question that it does not ask any more. */
  withdrawn?: string;
  /** Goes to its stdin at once. */
  reply?: string;
}

/**
 * Reads the agent's stdout line by line. Undefined for a line that is no message. Holds only what is needed to tell a
 * repetition; the same lines always give the same bodies.
 */
export type AgentReader = (line: string) => Reading | undefined;

export interface AgentAdapter {
  /** For people. */
  name: string;
  /** With `spec.conversation` stdin is to stay open, and takes further messages. */
  command(spec: TaskSpec, place: AgentPlace): AgentCommand;
  /** A user's message, as the stdin of a conversation takes it. */
  message(text: string): string;
  /** The user's answer, as the stdin of a conversation takes it. */
  answer(question: OpenQuestion, answer: QuestionAnswer): string;
  /** Has the agent end its turn; `id` is new each time. */
  interrupt(id: string): string;
  /** The file in which it writes down a conversation, from which it can go on with it. */
  sessionFile(id: string, place: Pick<AgentPlace, 'home' | 'workspace'>): string;
  reader(spec: TaskSpec): AgentReader;
}
