import { noChange } from 'lit';
import { type AttributePart, directive, Directive } from 'lit/directive.js';

/**
 * Sets styles of the element by the object model. Lit's own directive writes an attribute first, which a strict content
 * policy refuses.
 */
class Paint extends Directive {
  private set: readonly string[] = [];

  override render(_styles: Readonly<Record<string, string>>): unknown {
    return noChange;
  }

  override update(part: AttributePart, [styles]: [Readonly<Record<string, string>>]): unknown {
    const { style } = part.element;
    for (const name of this.set) if (!(name in styles)) style.removeProperty(name);
    for (const [name, value] of Object.entries(styles)) style.setProperty(name, value);
    this.set = Object.keys(styles);
    return noChange;
  }
}

export const paint = directive(Paint);
