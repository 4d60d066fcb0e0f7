import type { AgentQuestion, Choice, QuestionAnswer } from '../../protocol/question.ts';
import { safeLine, safeText } from '../../protocol/safeText.ts';

/** What the user is shown of a question of an agent's. Every word of it is the agent's. */

/** One line for lists and notices. */
export function questionLine(question: AgentQuestion): string {
  switch (question.what) {
    case 'choice':
      return safeLine(question.choices?.[0]?.question ?? 'It asks something.', 200);
    case 'permission':
      return `May it use ${safeLine(question.tool, 100)}?`;
    case 'plan':
      return 'Is its plan good?';
  }
}

export interface OptionItem {
  label: string;
  detail: string;
  /** What goes back to the agent, unchanged; undefined for words of the user's own. */
  value: string | undefined;
}

/** The options of one choice, and the way to words of one's own. */
export function optionItems(choice: Choice): OptionItem[] {
  return [
    ...choice.options.map(({ label, description }) => ({
      label: safeLine(label, 200),
      detail: safeLine(description, 300),
      value: label,
    })),
    { label: 'Something Else…', detail: 'Answer in your own words', value: undefined },
  ];
}

export interface VerdictItem {
  label: string;
  detail: string;
  answer: QuestionAnswer | 'refuse with words' | 'show';
}

/** What can be said to a permission or a plan. */
export function verdictItems(question: AgentQuestion): VerdictItem[] {
  const plan = question.what === 'plan';
  return [
    {
      label: plan ? 'Go Ahead' : 'Allow Once',
      detail: plan ? 'The agent begins to work on it' : 'The agent uses it this once, inside its sandbox',
      answer: { kind: 'allow' },
    },
    {
      label: plan ? 'Go on Planning…' : 'Refuse…',
      detail: 'Say why, or what to do instead',
      answer: 'refuse with words',
    },
    { label: plan ? 'Show the Plan' : 'Show What It Would Do', detail: firstLine(question), answer: 'show' },
  ];
}

function firstLine({ text = '' }: AgentQuestion): string {
  const line = text.split('\n').find((each) => /\w/.test(each)) ?? '';
  return safeLine(line.trim(), 200);
}

/** The whole of what a permission or a plan is about, as plain text. */
export function questionText(question: AgentQuestion): string {
  return safeText(question.text ?? '');
}
