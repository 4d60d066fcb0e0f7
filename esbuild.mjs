// Builds every bundle: `node esbuild.mjs [--watch]`.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { build, context } from 'esbuild';
import { breach } from './importLaw.mjs';

const watch = process.argv.includes('--watch');
const production = !watch;

/** Fails the build on a breach of the import law, so that no bundle can hold one. */
const importLaw = {
  name: 'import-law',
  setup(b) {
    b.onResolve({ filter: /.*/ }, (args) => {
      if (args.kind === 'entry-point' || args.importer.includes('/node_modules/')) return undefined;
      const target = args.path.startsWith('.') ? resolve(dirname(args.importer), args.path) : undefined;
      const reason = breach(args.importer, args.path, target);
      return reason === undefined ? undefined : { errors: [{ text: `Import law: ${reason}` }] };
    });
  },
};

/** ssh2, behind dockerode, has an optional native part that cannot be bundled and is not needed. */
const noNative = {
  name: 'no-native',
  setup(b) {
    b.onResolve({ filter: /^cpu-features$/ }, (args) => ({ path: args.path, external: true }));
    b.onLoad({ filter: /\.node$/ }, () => ({ contents: '', loader: 'empty' }));
  },
};

/**
 * The terminal without style attributes and style elements, which the dashboard's content policy refuses: it sets styles by
 * the object model, and calls webview/dashboard/strictStyles.ts. Each place has to be there, or the build fails.
 */
const strictTerminal = {
  name: 'strict-terminal',
  setup(b) {
    const places = [
      [/\w+(?:\.\w+)?\.createElement\("style"\)/g, 'styleElement()'],
      ['t.setAttribute("style",`${t.getAttribute("style")||""}${e};`)', 't.style.cssText+=`${e};`'],
    ];
    const helpers = resolve('webview/dashboard/strictStyles.ts');
    b.onLoad({ filter: /\/@xterm\/xterm\/lib\/xterm\.mjs$/ }, async ({ path }) => {
      let contents = await readFile(path, 'utf8');
      for (const [from, to] of places) {
        const changed = contents.replace(from, to);
        if (changed === contents) return { errors: [{ text: `xterm.js has no ${from} any more.` }] };
        contents = changed;
      }
      return { contents: `import { styleElement } from ${JSON.stringify(helpers)};\n${contents}` };
    });
  },
};

/** Of the manifest a program needs the version only; the rest of it would change the image whenever a command is renamed. */
const onlyVersion = {
  name: 'only-version',
  setup(b) {
    const manifest = resolve('package.json');
    b.onLoad({ filter: /\/package\.json$/ }, async ({ path }) => {
      if (path !== manifest) return undefined;
      const { version } = JSON.parse(await readFile(path, 'utf8'));
      return { contents: JSON.stringify({ version }), loader: 'json' };
    });
  },
};

const shared = {
  bundle: true,
  minify: production,
  sourcemap: watch ? 'linked' : false,
  legalComments: 'none',
  // In watch mode it says when a build begins and ends: the debugger waits for it (.vscode/tasks.json).
  logLevel: watch ? 'info' : 'warning',
  plugins: [importLaw, noNative, onlyVersion],
};
const node = { ...shared, platform: 'node', format: 'cjs' };

/** All that runs tasks is a bundle of its own beside the extension's, read when it is first needed. */
const lazyTasks = {
  name: 'lazy-tasks',
  setup(b) {
    b.onResolve({ filter: /\/runner\/localTasks\.ts$/ }, (args) =>
      args.kind === 'dynamic-import' ? { path: './tasks.js', external: true } : undefined,
    );
  },
};

/** The client of remote runners likewise, read when the first one is used. */
const lazyRemote = {
  name: 'lazy-remote',
  setup(b) {
    b.onResolve({ filter: /\/runnerAccess\.ts$/ }, (args) =>
      args.kind === 'dynamic-import' ? { path: './remote.js', external: true } : undefined,
    );
  },
};

/** The server is a bundle of its own, that other commands do not read. */
const lazyServer = {
  name: 'lazy-server',
  setup(b) {
    b.onResolve({ filter: /\/server\/serve\.ts$/ }, (args) =>
      args.kind === 'dynamic-import' ? { path: './server.js', external: true } : undefined,
    );
  },
};

/** The clients of clouds are large, and few use them: each is a bundle of its own, read at its first use. */
const clouds = { aws: 'src/aws/bedrock.ts', google: 'src/google/vertex.ts' };
const lazyClouds = {
  name: 'lazy-clouds',
  setup(b) {
    b.onResolve({ filter: /\/(aws\/bedrock|google\/vertex)\.ts$/ }, (args) =>
      args.kind === 'dynamic-import'
        ? { path: `./${args.path.includes('/aws/') ? 'aws' : 'google'}.js`, external: true }
        : undefined,
    );
  },
};

const bundles = [
  {
    ...node,
    target: 'node22',
    external: ['vscode'],
    entryPoints: { extension: 'src/vscode/extension.ts' },
    outdir: 'dist',
    plugins: [...shared.plugins, lazyTasks, lazyRemote],
  },
  { ...node, target: 'node22', entryPoints: { remote: 'src/vscode/runnerAccess.ts' }, outdir: 'dist' },
  {
    ...node,
    target: 'node22',
    entryPoints: {
      runner: 'src/cli/main.ts',
      server: 'src/server/serve.ts',
      tasks: 'src/runner/localTasks.ts',
    },
    outdir: 'dist',
    plugins: [...shared.plugins, lazyServer, lazyClouds],
  },
  { ...node, target: 'node22', entryPoints: clouds, outdir: 'dist' },
  {
    ...node,
    target: 'node20',
    entryPoints: { supervisor: 'src/supervisor/main.ts', gateway: 'src/gateway/main.ts' },
    outdir: 'dist',
  },
  {
    ...shared,
    platform: 'browser',
    format: 'esm',
    splitting: true,
    target: 'chrome138',
    tsconfig: 'webview/tsconfig.json',
    entryPoints: { task: 'webview/task/main.ts' },
    outdir: 'dist/webview',
  },
  {
    ...shared,
    platform: 'browser',
    format: 'esm',
    splitting: true,
    target: 'chrome138',
    tsconfig: 'webview/tsconfig.json',
    entryPoints: {
      dashboard: 'webview/dashboard/main.ts',
      'service-worker': 'webview/dashboard/serviceWorker.ts',
    },
    // Not in dist/webview, which goes into the extension.
    outdir: 'dist/dashboard',
    plugins: [...shared.plugins, strictTerminal],
  },
];

mkdirSync('dist/dashboard', { recursive: true });
cpSync('webview/dashboard/assets', 'dist/dashboard', { recursive: true });
if (watch) {
  for (const bundle of bundles) await (await context(bundle)).watch();
} else {
  await Promise.all(bundles.map((bundle) => build(bundle)));
}
writeFileSync('dist/.built', new Date().toISOString());
