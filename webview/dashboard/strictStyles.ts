/**
 * The diff view makes markup with style attributes, and style elements; the dashboard's content policy refuses both, and
 * markup that no policy of ours has made. The bundler (esbuild.mjs) lets it call these instead.
 */

/** Most rules that are made for styles of single elements; each style is one rule, however often it is used. */
const maxLooks = 20_000;

/** Rules for the styles of single elements; every part of the diff view adopts it. */
export const looks = new CSSStyleSheet();
const known = new Map<string, number>();

/** An attribute for markup that gives its element this style. */
export function styleAttribute(style: string): string {
  let number = known.get(style);
  if (number === undefined) {
    if (known.size >= maxLooks) forget();
    number = known.size;
    known.set(style, number);
    looks.insertRule(`[data-look="${number}"] {}`, number);
    // By the object model: a text with a brace in it can end no rule.
    const rule = looks.cssRules[number];
    if (rule instanceof CSSStyleRule) rule.style.cssText = style;
  }
  return `data-look="${number}"`;
}

/** What is drawn from now on gets new rules. */
function forget(): void {
  known.clear();
  looks.replaceSync('');
}

/** Stands for a style element: its text is a sheet of the tree that it is in. */
class SheetElement extends HTMLElement {
  private readonly sheet = new CSSStyleSheet();
  private tree: Document | ShadowRoot | undefined;

  override get textContent(): string {
    return '';
  }

  override set textContent(text: string) {
    this.sheet.replaceSync(text);
  }

  connectedCallback(): void {
    const tree = this.getRootNode();
    if (!(tree instanceof ShadowRoot || tree instanceof Document)) return;
    this.tree = tree;
    tree.adoptedStyleSheets = [...tree.adoptedStyleSheets, this.sheet];
  }

  disconnectedCallback(): void {
    if (this.tree === undefined) return;
    this.tree.adoptedStyleSheets = this.tree.adoptedStyleSheets.filter((sheet) => sheet !== this.sheet);
    this.tree = undefined;
  }
}
customElements.define('sallyport-sheet', SheetElement);

export function styleElement(): HTMLElement {
  const element = document.createElement('sallyport-sheet');
  element.hidden = true;
  return element;
}

const { trustedTypes } = globalThis as {
  trustedTypes?: {
    createPolicy(
      name: string,
      rules: { createHTML(html: string): string },
    ): { createHTML(html: string): string };
  };
};
const policy = trustedTypes?.createPolicy('sallyport-diffs', { createHTML: (html) => html });

/** Markup that the diff view has made of a diff: the texts in it are escaped by it. */
export function trustedMarkup(html: string): string {
  return policy?.createHTML(html) ?? html;
}
