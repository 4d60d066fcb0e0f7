import {
  CodeView,
  type CodeViewDiffItem,
  type CodeViewOptions,
  parsePatchFiles,
  registerCustomTheme,
} from '@pierre/diffs';
import { safeLine, showHidden } from '../../src/protocol/safeText.ts';
import { languages } from './languages.ts';

/** The part of the panel that shows diffs, loaded when it is first looked at. */

registerCustomTheme('dark-plus', () => import('@shikijs/themes/dark-plus'));
registerCustomTheme('light-plus', () => import('@shikijs/themes/light-plus'));

/** The editor's own colours around the syntax colours. */
const look = `
  :host { --diffs-bg: var(--vscode-editor-background); --diffs-font-family: var(--vscode-editor-font-family);
    --diffs-font-size: var(--vscode-editor-font-size); --diffs-header-font-family: var(--vscode-font-family); }
  [data-diffs-header] { background: var(--vscode-sideBar-background); color: var(--vscode-foreground); }
`;

export class DiffView {
  private readonly view: CodeView;
  private version = 0;
  private split: boolean;

  constructor(root: HTMLElement, split: boolean) {
    this.split = split;
    this.view = new CodeView(this.options());
    this.view.setup(root);
  }

  /**
   * @param path file that is scrolled to; the first one without it
   * @returns how many files differ
   */
  show(patch: string, path?: string): number {
    const files = parsePatchFiles(safePatch(patch)).flatMap((parsed) => parsed.files);
    this.version += 1;
    const items: CodeViewDiffItem[] = files.map((fileDiff, index) => {
      const lang = fileDiff.lang !== undefined && languages.has(fileDiff.lang) ? fileDiff.lang : undefined;
      return {
        id: `${this.version}/${index}`,
        type: 'diff',
        fileDiff: { ...fileDiff, name: safeLine(fileDiff.name), lang: lang ?? languageOf(fileDiff.name) },
        version: this.version,
      };
    });
    this.view.setItems(items);
    const wanted = path === undefined ? -1 : files.findIndex(({ name }) => name === path);
    const id = items[wanted]?.id;
    this.view.scrollTo(
      id === undefined
        ? { type: 'position', position: 0, behavior: 'instant' }
        : { type: 'item', id, align: 'start', behavior: 'instant' },
    );
    return files.length;
  }

  setSplit(split: boolean): void {
    if (split === this.split) return;
    this.split = split;
    this.view.setOptions(this.options());
    this.view.render(true);
  }

  /** The colours of the editor changed. */
  themeChanged(): void {
    this.view.setOptions(this.options());
    this.view.render(true);
  }

  dispose(): void {
    this.view.cleanUp();
  }

  private options(): CodeViewOptions<undefined, undefined> {
    const light =
      document.body.classList.contains('vscode-light') ||
      document.body.classList.contains('vscode-high-contrast-light');
    return {
      theme: { dark: 'dark-plus', light: 'light-plus' },
      themeType: light ? 'light' : 'dark',
      diffStyle: this.split ? 'split' : 'unified',
      overflow: 'scroll',
      stickyHeaders: true,
      tokenizeMaxLength: 200_000,
      tokenizeMaxLineLength: 2000,
      unsafeCSS: look,
    };
  }
}

/** What would turn or hide the text is shown; line structure and the marks of the diff stay. */
function safePatch(patch: string): string {
  return showHidden(patch.replaceAll('\r\n', '\n'));
}

function languageOf(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1).toLowerCase();
  const extension = name.slice(name.lastIndexOf('.') + 1);
  return (
    extensions[extension] ??
    (name === 'dockerfile' ? 'dockerfile' : name === 'makefile' ? 'makefile' : 'text')
  );
}

const extensions: Readonly<Record<string, string>> = {
  ts: 'typescript',
  mts: 'typescript',
  cts: 'typescript',
  js: 'javascript',
  mjs: 'javascript',
  cjs: 'javascript',
  jsx: 'jsx',
  tsx: 'tsx',
  json: 'json',
  jsonc: 'jsonc',
  html: 'html',
  htm: 'html',
  css: 'css',
  scss: 'scss',
  md: 'markdown',
  py: 'python',
  go: 'go',
  rs: 'rust',
  java: 'java',
  kt: 'kotlin',
  c: 'c',
  h: 'c',
  cpp: 'cpp',
  cc: 'cpp',
  hpp: 'cpp',
  cs: 'csharp',
  php: 'php',
  rb: 'ruby',
  sh: 'shellscript',
  bash: 'shellscript',
  zsh: 'shellscript',
  yaml: 'yaml',
  yml: 'yaml',
  toml: 'toml',
  sql: 'sql',
  ini: 'ini',
  xml: 'xml',
  swift: 'swift',
  lua: 'lua',
  mk: 'makefile',
  diff: 'diff',
  patch: 'diff',
};
