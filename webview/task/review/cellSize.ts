/** What stands beside the code in a line, in pixels: numbers and signs. */
const inlineGutter = 112;
const splitGutter = 64;
const tabCells = 4;

/** How many lines a text will take on the screen, without drawing it. */
export class CellSize {
  private readonly scroller: HTMLElement;
  /** Set by whoever knows it: asking the page for it would have it laid out. */
  scrollerWidth = 0;
  private measured: { width: number; height: number } | undefined;

  constructor(scroller: HTMLElement) {
    this.scroller = scroller;
  }

  /** Of a line of code, in pixels. */
  get height(): number {
    return this.size().height;
  }

  /** True for a text that takes one line for certain, however its characters are drawn. */
  fits(text: string, half: boolean): boolean {
    if (/[^\x20-\x7e]/.test(text)) return false;
    return text.length * this.size().width < this.room(half) * 0.95;
  }

  /** @param half in one of two columns */
  wraps(text: string, half: boolean): number {
    const { width } = this.size();
    const room = this.room(half);
    if (room < width * 10) return 1;
    let cells = text.length;
    for (let at = text.indexOf('\t'); at !== -1; at = text.indexOf('\t', at + 1)) cells += tabCells - 1;
    return Math.max(1, Math.ceil((cells * width) / room));
  }

  private room(half: boolean): number {
    return half ? this.scrollerWidth / 2 - splitGutter : this.scrollerWidth - inlineGutter;
  }

  private size(): { width: number; height: number } {
    if (this.measured !== undefined) return this.measured;
    const line = document.createElement('div');
    line.className = 'rv-line rv-probe';
    const code = document.createElement('span');
    code.className = 'rv-code';
    code.textContent = 'x'.repeat(50);
    line.append(code);
    this.scroller.append(line);
    const range = document.createRange();
    range.selectNodeContents(code);
    const { width } = range.getBoundingClientRect();
    const { height } = line.getBoundingClientRect();
    line.remove();
    if (width === 0 || height === 0) return { width: 7.2, height: 20 };
    this.measured = { width: width / 50, height };
    return this.measured;
  }
}
