/** What an attack on a view looks for, as scripts for the page: they see every shadow root. */

/** Looks into every shadow root: what there is of an attacker's, and all text. */
export const lookAround = `(() => {
  const found = [];
  let text = '';
  const visit = (root) => {
    for (const element of root.querySelectorAll('*')) {
      const attributes = element.getAttributeNames();
      if (attributes.some((name) => name === 'data-evil' || name.startsWith('on'))) found.push(element.outerHTML.slice(0, 200));
      for (const name of ['href', 'src', 'xlink:href', 'action', 'formaction', 'srcdoc']) {
        const value = element.getAttribute(name) ?? '';
        if (/^(command|javascript|data|file|vscode):|evil/i.test(value)) found.push(name + '=' + value.slice(0, 100));
      }
      for (const name of attributes) if (name === 'title' || name.startsWith('aria-')) text += element.getAttribute(name) + '\\n';
      if (element.shadowRoot !== null) visit(element.shadowRoot);
    }
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      if (node.parentElement?.localName !== 'style') text += node.data + '\\n';
    }
  };
  visit(document);
  return { found, text, ran: globalThis.evil };
})()`;

export interface Look {
  found: string[];
  text: string;
  ran?: number;
}

/** Opens everything that can be opened. */
export const openAll = `(() => {
  const visit = (root) => {
    for (const element of root.querySelectorAll('*')) {
      if (element.getAttribute('aria-expanded') === 'false') element.click();
      if (element.localName === 'details') element.open = true;
      if (element.shadowRoot !== null) visit(element.shadowRoot);
    }
  };
  visit(document);
})()`;
