import { html, nothing, type TemplateResult } from 'lit';
import type { AgentQuestion, Choice, QuestionAnswer } from '../../src/protocol/question.ts';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import { icon } from './icons.ts';

/** What was chosen and typed in the form of a question. */
interface Filled {
  /** By the number of the choice: labels, and words of the user's own. */
  chosen: Set<string>[];
  own: string[];
  why: string;
}

/** The agent's open questions, each with its answers as buttons. */
export class QuestionForms {
  private readonly filled = new Map<string, Filled>();
  private readonly changed: () => void;

  constructor(changed: () => void) {
    this.changed = changed;
  }

  view(question: AgentQuestion, busy: boolean, answer: (answer: QuestionAnswer) => void): TemplateResult {
    const filled = this.of(question);
    const say = (one: QuestionAnswer): void => {
      this.filled.delete(question.id);
      answer(one);
    };
    return html`<div class="question" role="group" aria-label="A question of the agent's">
      ${icon('person')}
      <div class="question-body">
        ${
          question.what === 'choice'
            ? this.choices(question.choices ?? [], filled, busy, say)
            : this.permission(question, filled, busy, say)
        }
      </div>
    </div>`;
  }

  private of(question: AgentQuestion): Filled {
    let filled = this.filled.get(question.id);
    if (filled === undefined) {
      const count = question.choices?.length ?? 0;
      filled = {
        chosen: Array.from({ length: count }, () => new Set<string>()),
        own: Array.from({ length: count }, () => ''),
        why: '',
      };
      this.filled.set(question.id, filled);
    }
    return filled;
  }

  private permission(
    question: AgentQuestion,
    filled: Filled,
    busy: boolean,
    say: (answer: QuestionAnswer) => void,
  ): TemplateResult {
    const plan = question.what === 'plan';
    return html`<div class="question-title">
        ${plan ? 'The agent has a plan:' : html`The agent wants to use <strong>${safeLine(question.tool, 80)}</strong>:`}
      </div>
      ${question.text === undefined ? nothing : html`<pre class="text box question-text">${safeText(question.text)}</pre>`}
      <div class="question-answers">
        <vscode-button ?disabled=${busy} @click=${() => say({ kind: 'allow' })}
          >${plan ? 'Go Ahead' : 'Allow Once'}</vscode-button
        >
        <vscode-button
          secondary
          ?disabled=${busy}
          @click=${() => say({ kind: 'refuse', ...(filled.why.trim() === '' ? {} : { why: filled.why.trim() }) })}
          >${plan ? 'Not Like This' : "Don't Allow"}</vscode-button
        >
        <input
          type="text"
          maxlength="5000"
          aria-label="Why not, for the agent"
          placeholder="Why not, and what instead (optional)"
          .value=${filled.why}
          @input=${(event: Event) => (filled.why = (event.target as HTMLInputElement).value)}
        />
      </div>`;
  }

  private choices(
    choices: readonly Choice[],
    filled: Filled,
    busy: boolean,
    say: (answer: QuestionAnswer) => void,
  ): TemplateResult {
    const [only] = choices;
    // One thing to choose: its button is the answer.
    const direct = choices.length === 1 && only?.multiple === false;
    const answers = (): string[][] =>
      choices.map((_, at) => {
        const own = filled.own[at]?.trim() ?? '';
        return [...(filled.chosen[at] ?? []), ...(own === '' ? [] : [own])];
      });
    const complete = answers().every(
      (given, at) => given.length > 0 && (choices[at]?.multiple === true || given.length === 1),
    );
    return html`${choices.map((choice, at) => this.choice(choice, at, filled, busy, direct ? (label) => say({ kind: 'choose', answers: [[label]] }) : undefined))}
      <div class="question-answers">
        ${
          direct && (filled.own[0] ?? '').trim() === ''
            ? nothing
            : html`<vscode-button
                ?disabled=${busy || !complete}
                @click=${() => say({ kind: 'choose', answers: answers() })}
                >Answer</vscode-button
              >`
        }
        <vscode-button secondary ?disabled=${busy} @click=${() => say({ kind: 'refuse' })}
          >No Answer</vscode-button
        >
      </div>`;
  }

  private choice(
    choice: Choice,
    at: number,
    filled: Filled,
    busy: boolean,
    direct: ((label: string) => void) | undefined,
  ): TemplateResult {
    const chosen = filled.chosen[at] ?? new Set<string>();
    const pick = (label: string): void => {
      if (direct !== undefined) {
        direct(label);
        return;
      }
      const had = chosen.has(label);
      if (!choice.multiple) {
        chosen.clear();
        filled.own[at] = '';
      }
      if (had) chosen.delete(label);
      else chosen.add(label);
      this.changed();
    };
    return html`<fieldset class="question-choice">
      <legend>${safeText(choice.question)}</legend>
      <div class="question-options">
        ${choice.options.map(
          ({ label, description }) =>
            html`<button
              class="question-option"
              ?disabled=${busy}
              aria-pressed=${direct === undefined ? String(chosen.has(label)) : nothing}
              @click=${() => pick(label)}
            >
              <strong>${safeLine(label, 120)}</strong>
              ${description === '' ? nothing : html`<span class="dim">${safeLine(description, 300)}</span>`}
            </button>`,
        )}
      </div>
      <input
        type="text"
        maxlength="5000"
        aria-label="Another answer"
        placeholder="Another answer"
        .value=${filled.own[at] ?? ''}
        @input=${(event: Event) => {
          filled.own[at] = (event.target as HTMLInputElement).value;
          if (!choice.multiple && filled.own[at].trim() !== '') chosen.clear();
          this.changed();
        }}
      />
    </fieldset>`;
  }
}
