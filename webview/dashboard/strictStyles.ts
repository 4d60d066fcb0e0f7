/** The terminal makes style elements, which the dashboard's content policy refuses. The bundler (esbuild.mjs) lets it call this. */

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
