// The import law, in one place: read by the linter (eslint.config.mjs) and by the bundler (esbuild.mjs).

/** Which folders of `src/` (and `webview`) a folder may import, besides itself. */
export const folders = {
  base: [],
  protocol: ['base'],
  git: ['base', 'protocol'],
  agent: ['base', 'protocol'],
  credentials: ['base', 'protocol'],
  engine: ['base', 'protocol', 'git', 'agent', 'credentials'],
  aws: ['base', 'protocol', 'credentials'],
  google: ['base', 'protocol', 'credentials'],
  forge: ['base', 'protocol', 'git', 'credentials'],
  runner: ['base', 'protocol', 'git', 'agent', 'credentials', 'engine', 'aws', 'google', 'forge'],
  remote: ['base', 'protocol', 'git', 'runner'],
  server: ['base', 'protocol', 'git', 'agent', 'credentials', 'engine', 'forge', 'runner'],
  cli: ['base', 'protocol', 'runner', 'server', 'remote'],
  vscode: ['base', 'protocol', 'git', 'agent', 'credentials', 'engine', 'runner', 'remote'],
  supervisor: ['base', 'protocol', 'agent', 'git'],
  gateway: ['base', 'protocol', 'agent'],
  webview: ['protocol'],
};

/** Packages that exactly one folder may import. */
const soleImporters = [
  [/^vscode$/, 'vscode'],
  [/^dockerode$/, 'engine'],
  [/^@aws-sdk\//, 'aws'],
  [/^google-auth-library$/, 'google'],
  [/^(fastify|@fastify\/|nodemailer$|@modelcontextprotocol\/)/, 'server'],
  [/^(lit|@vscode-elements\/|@shikijs\/|@xterm\/|ansi_up)/, 'webview'],
];

const nodeModule = /^node:/;

/** The folder that a source path belongs to, or undefined outside the law (tests, scripts). */
export function folderOf(path) {
  const match = /(?:^|\/)(?:src\/([a-z]+)|(webview))\//.exec(path.replaceAll('\\', '/'));
  return match?.[1] ?? match?.[2];
}

/**
 * Says why `importer` may not import `specifier`, or nothing when it may.
 * @param {string} importer path of the importing file
 * @param {string} specifier text of the import
 * @param {string | undefined} target resolved path for a relative import
 */
export function breach(importer, specifier, target) {
  const from = folderOf(importer);
  if (from === undefined) return undefined;
  if (!(from in folders)) return `the folder ${from} is not in the import law`;
  if (target !== undefined) {
    const to = folderOf(target);
    if (to === undefined || to === from || folders[from].includes(to)) return undefined;
    return `${from} may not import ${to}`;
  }
  if (nodeModule.test(specifier) && (from === 'protocol' || from === 'webview')) {
    return `${from} runs in a browser too and may not import ${specifier}`;
  }
  for (const [pattern, owner] of soleImporters) {
    if (pattern.test(specifier) && owner !== from) return `only ${owner} may import ${specifier}`;
  }
  return undefined;
}
