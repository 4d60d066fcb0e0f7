/** An open control string is given up after so many characters, so that it does not eat the rest. */
const longest = 64 << 10;

/**
 * What a terminal of a sandbox prints, for the editor's own terminal: moving, colouring and clearing stay, control strings (OSC,
 * DCS, APC, PM, SOS) go. With those a program could read and write the clipboard, make links of its choosing, and speak to the
 * editor as if it were a shell of the user's. Takes text in pieces, cut anywhere.
 */
export class TerminalText {
  private readonly decoder = new TextDecoder();
  /** `escape`: an ESC was the last. */
  private state: 'text' | 'escape' | 'string' = 'text';
  private length = 0;

  take(bytes: Uint8Array): string {
    let out = '';
    for (const char of this.decoder.decode(bytes, { stream: true })) out += this.next(char);
    return out;
  }

  private next(char: string): string {
    switch (this.state) {
      case 'text':
        if (char === '\x1b') {
          this.state = 'escape';
          return '';
        }
        return this.plain(char);
      case 'escape':
        this.state = 'text';
        if (char === '\x1b') {
          this.state = 'escape';
          return '';
        }
        if (/[\]P_^X]/.test(char)) {
          this.begin();
          return '';
        }
        // The end of a string that was dropped.
        if (char === '\\') return '';
        return `\x1b${this.plain(char)}`;
      case 'string':
        this.length += 1;
        if (char === '\x1b') this.state = 'escape';
        else if (/[\x07\x18\x1a\x9c]/.test(char) || this.length > longest) this.state = 'text';
        return '';
    }
  }

  /** One character outside of any sequence; those of 8 bits that begin a string do so too. */
  private plain(char: string): string {
    if (!/[\x90\x98\x9d-\x9f]/.test(char)) return char;
    this.begin();
    return '';
  }

  private begin(): void {
    this.state = 'string';
    this.length = 0;
  }
}
