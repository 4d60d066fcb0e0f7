import { createJavaScriptRegexEngine } from '@shikijs/engine-javascript';
import {
  codeToTokensBase,
  createShikiPrimitiveAsync,
  getLastGrammarState,
  resolveLangs,
  type ShikiPrimitive,
} from '@shikijs/primitive';
import type { FileText, Stretch } from '../../../src/protocol/reviewText.ts';
import { grammars } from './grammars.ts';
import type { Piece, TextColours } from './textColours.ts';

/** The part of the panel that colours code, loaded when the first file of a known language is looked at. */

/** How long one stretch of work may take, in milliseconds, and lines between two looks at the clock. */
const sliceMs = 6;
const sliceLines = 8;
/** What is there of a file is shown this often, in milliseconds. */
const shownMs = 80;
/** How long one line may take at once, in milliseconds, and how often it is tried. */
const lineMs = 25;
const maxTries = 12;
/** Longer lines and larger files are shown without colours. */
const maxLine = 1000;
const maxCharacters = 300_000;

type State = ReturnType<typeof getLastGrammarState> | undefined;

interface Job {
  text: FileText;
  colours: TextColours;
  language: string;
  done: () => void;
  /** When that was called last. */
  shown: number;
  signal: AbortSignal;
  steps: Generator<void, void>;
}

export class Colours {
  private engine: Promise<ShikiPrimitive> | undefined;
  private readonly languages = new Map<string, Promise<boolean>>();
  private readonly jobs: Job[] = [];
  private light = false;
  private running = false;
  private readonly sheet = new CSSStyleSheet();
  /** Classes of colours that are in the sheet. */
  private readonly classes = new Map<string, string>();

  constructor(light: boolean) {
    this.light = light;
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.sheet];
  }

  /** From now on, for what is coloured from now on. */
  setLight(light: boolean): void {
    this.light = light;
  }

  dispose(): void {
    this.jobs.length = 0;
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== this.sheet);
  }

  /** Colours a text, piece by piece; `drawn` is called whenever there is something new to be seen. */
  async colour(
    language: string,
    text: FileText,
    colours: TextColours,
    drawn: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    const size = text.stretches.reduce((sum, stretch) => sum + charactersOf(stretch), 0);
    if (size > maxCharacters) return;
    this.engine ??= createShikiPrimitiveAsync({
      langs: [],
      themes: [() => import('@shikijs/themes/dark-plus'), () => import('@shikijs/themes/light-plus')],
      engine: createJavaScriptRegexEngine({ forgiving: true }),
    });
    const engine = await this.engine;
    if (!(await this.load(engine, language)) || signal.aborted) return;
    const theme = this.light ? 'light-plus' : 'dark-plus';
    this.jobs.push({
      text,
      colours,
      language,
      done: drawn,
      shown: 0,
      signal,
      steps: this.steps(engine, language, theme, text, colours),
    });
    this.run();
  }

  private load(engine: ShikiPrimitive, language: string): Promise<boolean> {
    const known = this.languages.get(language);
    if (known !== undefined) return known;
    const grammar = grammars[language];
    const loading =
      grammar === undefined
        ? Promise.resolve(false)
        : resolveLangs([grammar]).then(
            (langs) => {
              engine.loadLanguageSync(...langs);
              return true;
            },
            () => false,
          );
    this.languages.set(language, loading);
    return loading;
  }

  private run(): void {
    if (this.running) return;
    this.running = true;
    const slice = (): void => {
      const until = performance.now() + sliceMs;
      for (let job = this.jobs[0]; job !== undefined; job = this.jobs[0]) {
        if (job.signal.aborted) {
          this.jobs.shift();
          continue;
        }
        while (performance.now() < until) {
          if (job.steps.next().done === true) {
            this.jobs.shift();
            break;
          }
        }
        const now = performance.now();
        if (this.jobs[0] !== job || now - job.shown > shownMs) {
          job.shown = now;
          job.done();
        }
        if (now >= until) break;
      }
      if (this.jobs.length === 0) this.running = false;
      else setTimeout(slice, 4);
    };
    setTimeout(slice, 0);
  }

  private *steps(
    engine: ShikiPrimitive,
    lang: string,
    theme: string,
    text: FileText,
    colours: TextColours,
  ): Generator<void, void> {
    let state: State;
    const line = (content: string, before: State) => this.line(engine, lang, theme, content, before);
    let since = 0;
    for (const stretch of text.stretches) {
      if (stretch.kind === 'gap') {
        // What stands in between is not known.
        state = undefined;
        continue;
      }
      if (stretch.kind === 'same') {
        for (const [i, content] of stretch.lines.entries()) {
          const [pieces, after] = yield* line(content, state);
          state = after;
          colours.set('new', stretch.new + i, pieces);
          colours.set('old', stretch.old + i, pieces);
          if (++since % sliceLines === 0) yield;
        }
        continue;
      }
      let old = state;
      for (const [i, content] of stretch.removed.entries()) {
        const [pieces, after] = yield* line(content, old);
        old = after;
        colours.set('old', stretch.old + i, pieces);
        if (++since % sliceLines === 0) yield;
      }
      for (const [i, content] of stretch.added.entries()) {
        const [pieces, after] = yield* line(content, state);
        state = after;
        colours.set('new', stretch.new + i, pieces);
        if (++since % sliceLines === 0) yield;
      }
    }
  }

  /** The pieces of a line, and what the next line goes on with. */
  private *line(
    engine: ShikiPrimitive,
    lang: string,
    theme: string,
    content: string,
    before: State,
  ): Generator<void, [Piece[], State]> {
    if (content.length > maxLine) return [[], before];
    const options = { lang, theme, tokenizeTimeLimit: lineMs };
    // A grammar's expressions are made ready when they are first used, which takes longer than there is time for a line: what
    // is ready stays so, and the line is tried again. One that is too much all the same stays without colours.
    for (let tries = 0; tries < maxTries; tries++) {
      const began = performance.now();
      const state = before === undefined ? {} : { grammarState: before };
      const lines = codeToTokensBase(engine, content, { ...options, ...state });
      if (performance.now() - began < lineMs) {
        const pieces = (lines[0] ?? []).map((token): Piece => ({
          length: token.content.length,
          colour: this.classOf(token.color),
        }));
        return [pieces, getLastGrammarState(engine, lines) ?? before];
      }
      yield;
    }
    return [[], before];
  }

  /** A class for a colour: style attributes are not allowed everywhere. */
  private classOf(colour: string | undefined): string {
    if (colour === undefined || !/^#[0-9a-fA-F]{3,8}$/.test(colour)) return '';
    let name = this.classes.get(colour);
    if (name === undefined) {
      name = `rv-c${this.classes.size}`;
      this.classes.set(colour, name);
      this.sheet.insertRule(`.${name} { color: ${colour}; }`);
    }
    return name;
  }
}

function charactersOf(stretch: Stretch): number {
  const sum = (lines: readonly string[]): number => lines.reduce((all, { length }) => all + length, 0);
  if (stretch.kind === 'gap') return 0;
  return stretch.kind === 'same' ? sum(stretch.lines) : sum(stretch.removed) + sum(stretch.added);
}
