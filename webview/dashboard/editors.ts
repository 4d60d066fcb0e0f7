/** The extension, in the address of an editor. */
const extension = 'sallyport.sallyport';

const editors: Readonly<Record<string, string>> = {
  'vscode:': 'VS Code',
  'vscode-insiders:': 'VS Code Insiders',
  'vscodium:': 'VSCodium',
  'codium:': 'VSCodium',
  'cursor:': 'Cursor',
  'windsurf:': 'Windsurf',
};

/** What a callback belongs to; undefined for anything else, to which a code must not go. The server checks it too. */
export function editorOf(callback: string): string | undefined {
  if (!URL.canParse(callback)) return undefined;
  const { protocol, host, hostname, port, username, password } = new URL(callback);
  if (username !== '' || password !== '') return undefined;
  const editor = editors[protocol];
  if (editor !== undefined) return host === extension ? editor : undefined;
  const local = protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname) && port !== '';
  return local ? 'a program on this machine' : undefined;
}
