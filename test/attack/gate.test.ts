import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readParts } from '../../src/git/parts/readParts.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import type { GateReason } from '../../src/protocol/review.ts';
import { temporaryFolder } from '../support/gitRepo.ts';
import { writeTree, type ModelFile } from '../support/randomTrees.ts';

type Files = Record<string, string | ModelFile>;

const link = (target: string): ModelFile => ({ mode: '120000', content: target });
const program = (content: string): ModelFile => ({ mode: '100755', content });
const submodule = (digit: string): ModelFile => ({ mode: '160000', content: digit.repeat(40) });
/** A name as a tree has it. */
const utf8 = (name: string): string => Buffer.from(name).toString('latin1');

describe('getting past the hand-off gate', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let quarantine: Quarantine;

  before(async () => {
    folder = temporaryFolder();
    quarantine = Quarantine.open(join(folder.path, 'q'), 'a'.repeat(16));
    await quarantine.create();
  });
  after(() => folder.dispose());

  const write = (files: Files): string =>
    writeTree(
      quarantine.objects,
      new Map(
        Object.entries(files).map(([path, file]) => [
          utf8(path),
          typeof file === 'string' ? { mode: '100644', content: file } : file,
        ]),
      ),
    );

  /** What the gate finds, by path. */
  async function found(from: Files, to: Files): Promise<Record<string, GateReason['kind'][]>> {
    const { files } = await readParts(quarantine, write(from), write(to));
    for (const { file } of files) {
      for (const { why } of file.gate)
        assert.match(why, /^(?:[A-Z]|git ).{20,}\.$/su, 'a reason is a sentence');
    }
    return Object.fromEntries(files.map(({ file }) => [file.path, file.gate.map(({ kind }) => kind)]));
  }

  const all: Record<string, GateReason['kind'][]> = {
    '.vscode/tasks.json': ['editor'],
    'deep/down/.vscode/settings.json': ['editor'],
    '.idea/workspace.xml': ['editor'],
    'x.code-workspace': ['editor'],
    '.devcontainer/devcontainer.json': ['container'],
    '.devcontainer.json': ['container'],
    Dockerfile: ['container'],
    'docker/app.Dockerfile': ['container'],
    'docker-compose.override.yml': ['container'],
    '.claude/settings.json': ['agent'],
    '.mcp.json': ['agent'],
    'CLAUDE.md': ['agent'],
    'lib/inner/CLAUDE.md': ['agent'],
    'lib/inner/AGENTS.md': ['agent'],
    '.github/copilot-instructions.md': ['agent'],
    '.cursorrules': ['agent'],
    '.husky/pre-commit': ['hook'],
    '.githooks/post-checkout': ['hook'],
    '.pre-commit-config.yaml': ['hook'],
    'tools/hooks/pre-push': ['hook'],
    'lefthook.yml': ['hook'],
    '.gitattributes': ['git'],
    'deep/.gitattributes': ['git'],
    '.gitmodules': ['git'],
    '.envrc': ['environment'],
    '.env.production': ['environment'],
    '.npmrc': ['environment'],
    'flake.nix': ['environment'],
    '.github/workflows/ci.yml': ['ci'],
    '.gitlab-ci.yml': ['ci'],
    Jenkinsfile: ['ci'],
    'package.json': ['scripts'],
    'composer.json': ['scripts'],
    'package-lock.json': ['lockfile'],
    'web/yarn.lock': ['lockfile'],
    'Cargo.lock': ['lockfile'],
    'go.sum': ['lockfile'],
    'requirements-dev.txt': ['lockfile'],
    Makefile: ['build'],
    'sub/rules.mk': ['build'],
    justfile: ['build'],
    Rakefile: ['build'],
    'build.gradle.kts': ['build'],
    'setup.py': ['build'],
    'pyproject.toml': ['build'],
    'CMakeLists.txt': ['build'],
    'tox.ini': ['build'],
    'tests/conftest.py': ['build'],
    'vite.config.ts': ['build'],
    'webpack.prod.js': ['build'],
    'eslint.config.mjs': ['build'],
    '.eslintrc.json': ['build'],
    'jest.config.js': ['build'],
    'tsconfig.build.json': ['build'],
    'build.rs': ['build'],
    'App.csproj': ['build'],
  };

  it('finds every file that the host runs or obeys, and leaves the others alone', async () => {
    const harmless = [
      'src/main.ts',
      'README.md',
      'docs/build.md',
      'vscode/settings.json',
      'src/makefileReader.ts',
    ];
    harmless.push('src/environment.ts', 'lib/agents.ts', 'test/lock.test.ts', 'claude.ts', 'vite.svg');
    const files = Object.fromEntries(
      [...Object.keys(all), ...harmless].map((path) => [path, '{"scripts":{}}\n']),
    );
    assert.deepEqual(await found({}, files), {
      ...all,
      ...Object.fromEntries(harmless.map((path) => [path, []])),
    });
    // Taking one away changes what runs as well.
    assert.deepEqual(await found(files, Object.fromEntries(harmless.map((path) => [path, 'x']))), {
      ...all,
      ...Object.fromEntries(harmless.map((path) => [path, []])),
    });
  });

  for (const [how, name] of [
    ['another case', '.VSCode/Tasks.json'],
    ['letters of another width', '.ｖｓｃｏｄｅ/tasks.json'],
    ['a letter with two large forms', '.vſcode/tasks.json'],
    ['a character that HFS+ passes over', '.vs\u200ccode/tasks.json'],
    ['a joiner at the end', '.vscode\u2060/tasks.json'],
    ['dots and blanks at the end', '.vscode. ./tasks.json'],
    ['a stream of NTFS', '.vscode::$INDEX_ALLOCATION/tasks.json'],
    ['a backslash', 'x\\.vscode\\tasks.json'],
    ['an ideographic full stop', '．vscode/tasks.json'],
  ] as const) {
    it(`knows a name in disguise: ${how}`, async () => {
      const kinds = Object.values(await found({ a: '1' }, { a: '1', [name]: '{}\n' })).flat();
      assert.ok(kinds.includes('editor'), kinds.join());
    });
  }

  it('distrusts short names of Windows, which may stand for any other', async () => {
    assert.deepEqual(await found({}, { 'VSCODE~1/tasks.json': '{}', 'CLAUDE~1.MD': 'x', 'notes~': 'x' }), {
      'VSCODE~1/tasks.json': ['hidden'],
      'CLAUDE~1.MD': ['hidden'],
      'notes~': [],
    });
  });

  it('looks at both names of a renamed file', async () => {
    const text = 'all: build\n'.repeat(20);
    assert.deepEqual(await found({ 'notes.txt': text }, { Makefile: text }), { Makefile: ['build'] });
    assert.deepEqual(await found({ '.husky/pre-push': text }, { 'notes.txt': `${text}more\n` }), {
      'notes.txt': ['hook'],
    });
    const json = `${JSON.stringify({ name: 'x', scripts: { postinstall: 'evil' }, keywords: Array.from({ length: 50 }, (_, i) => `k${i}`) }, null, 1)}\n`;
    assert.deepEqual(await found({ 'x.json': json }, { 'package.json': json }), {
      'package.json': ['scripts'],
    });
  });

  it('follows a link to where a gate file really is', async () => {
    const there = {
      '.vscode': link('config/editor'),
      'config/editor/settings.json': '{}\n',
      'config/other.json': '{}\n',
    };
    assert.deepEqual(
      await found(there, {
        ...there,
        'config/editor/settings.json': '{"x":1}\n',
        'config/other.json': '{"x":1}\n',
      }),
      { 'config/editor/settings.json': ['editor'], 'config/other.json': [] },
    );
    // Through two of them, in another case, over dots.
    const far = {
      'a/.claude': link('../B/./x/../c'),
      'b/c': link('/../nowhere'),
      '.husky': link('far/one'),
      'far/one': link('../two/'),
      'two/pre-commit': 'true\n',
    };
    const changed = await found(far, { ...far, 'two/pre-commit': 'evil\n', 'b/x.md': 'x\n' });
    assert.deepEqual(changed, { 'two/pre-commit': ['hook'], 'b/x.md': [] });
  });

  it('follows a link that comes with the content, and one that may stay', async () => {
    const evil = await found(
      { keep: 'x' },
      { keep: 'x', 'CLAUDE.md': link('docs/style.md'), 'docs/style.md': 'Obey.\n' },
    );
    assert.deepEqual(evil, { 'CLAUDE.md': ['agent', 'link'], 'docs/style.md': ['agent'] });
    const stays = await found({ 'CLAUDE.md': link('docs/style.md') }, { 'docs/style.md': 'Obey.\n' });
    assert.deepEqual(stays, { 'CLAUDE.md': ['agent'], 'docs/style.md': ['agent'] });
  });

  it('does not get lost in links that lead to themselves', async () => {
    const loops = {
      a: link('.'),
      'b/up': link('..'),
      c: link('c'),
      d: link('e'),
      e: link('d'),
      'f.txt': 'x\n',
    };
    const changed = await found(loops, { ...loops, 'f.txt': 'y\n', 'b/g.txt': 'y\n' });
    assert.deepEqual(changed, { 'f.txt': [], 'b/g.txt': [] });
  });

  it('sees paths below what is a link or a submodule, or is one in another spelling', async () => {
    const changed = await found(
      { docs: link('/etc'), lib: submodule('1'), x: '1' },
      {
        'docs/passwd': 'x',
        'lib/a.c': 'x',
        Etc: link('/etc'),
        'etc/hosts': 'x',
        MOD: submodule('2'),
        'mod/a.c': 'x',
        x: '1',
      },
    );
    assert.deepEqual(changed['docs/passwd'], ['link']);
    assert.deepEqual(changed['lib/a.c'], ['submodule']);
    assert.deepEqual(changed['etc/hosts'], ['link']);
    assert.deepEqual(changed['mod/a.c'], ['submodule']);
    assert.deepEqual(changed.Etc, ['link']);
    assert.deepEqual(changed.MOD, ['submodule']);
  });

  it('sees two names of which some disks make one file', async () => {
    const changed = await found(
      { 'README.md': 'x' },
      { 'README.md': 'x', 'readme.md': 'y', 'é.txt': '1', 'e\u0301.txt': '2' },
    );
    assert.deepEqual(changed, { 'readme.md': ['hidden'], 'é.txt': ['hidden'], 'e\u0301.txt': ['hidden'] });
  });

  it('sees links, modes, binaries and submodules, whatever they are called', async () => {
    assert.deepEqual(
      await found(
        { run: 'x\n', stop: program('x\n'), l: link('a'), was: link('b'), logo: '\0', mod: submodule('1') },
        {
          run: program('x\n'),
          stop: 'x\n',
          l: link('b'),
          was: 'text\n',
          logo: '\0\0',
          mod: submodule('2'),
          new: program('#!\n'),
        },
      ),
      {
        run: ['mode'],
        stop: ['mode'],
        l: ['link'],
        was: ['link'],
        logo: ['binary'],
        mod: ['submodule'],
        new: ['mode'],
      },
    );
  });

  it('reads a package.json: a description is let through, everything that runs or installs is not', async () => {
    const base = { name: 'x', version: '1.0.0', scripts: { test: 'mocha' }, dependencies: { a: '1' } };
    const json = (change: object, space = 2): string => JSON.stringify({ ...base, ...change }, null, space);
    const kinds = async (text: string): Promise<GateReason['kind'][]> =>
      (await found({ 'p/package.json': json({}) }, { 'p/package.json': text }))['p/package.json'] ??
      assert.fail();
    assert.deepEqual(await kinds(json({ version: '2.0.0', description: 'better', keywords: ['x'] })), []);
    assert.deepEqual(await kinds(json({}, 4)), []);
    const steering: object[] = [
      { scripts: { test: 'evil' } },
      { scripts: { test: 'mocha', postinstall: 'evil' } },
      { bin: './evil.js' },
      { dependencies: { a: '1', b: '1' } },
      { optionalDependencies: { b: '1' } },
      { overrides: { a: 'npm:evil@1' } },
      { packageManager: 'evil@1' },
      { workspaces: ['evil'] },
      { 'lint-staged': { '*': 'evil' } },
      { gypfile: true },
      { main: 'evil.js' },
      { 'a field of tomorrow': 1 },
    ];
    for (const change of steering)
      assert.deepEqual(await kinds(json(change)), ['scripts'], JSON.stringify(change));
    assert.deepEqual(await kinds('{"name":"x"'), ['scripts']);
    assert.deepEqual(await kinds('[]'), ['scripts']);
    assert.deepEqual(await kinds(`${json({ version: '3.0.0' })}${' '.repeat(1 << 20)}`), ['scripts']);
    assert.deepEqual(await found({}, { 'Package.JSON': json({}) }), { 'Package.JSON': ['scripts'] });
    assert.deepEqual(await found({}, { 'package.json': '{"name":"x","__proto__":{"scripts":1}}' }), {
      'package.json': ['scripts'],
    });
  });

  it('sees what cannot be seen in what is added, and only there', async () => {
    const hidden = {
      order: 'if (admin) { //\u202e } evil \u2066\n',
      isolate: 'a\u2067b\n',
      invisible: 'const a\u200b = 1;\n',
      tags: 'nice\u{e0069}\u{e0067}\u{e006e}\n',
      selectors: 'a\ufe01\ufe02\n',
      'selector run': '☀\ufe0f\ufe0f\ufe0f\n',
      hangul: 'const \u3164 = 1;\n',
      blank: 'a\u2800b\n',
      separator: 'a\u2028b\n',
      escape: 'echo \x1b[8m evil \x1b[0m\n',
      overwrite: 'evil #\rgood\n',
      backspace: 'evil\b\b\b\bgood\n',
      'mark within': 'a\ufeffb\n',
      'joined letters': 'pass\u200dword\n',
    };
    const fine = {
      windows: '\ufeffline\r\nother\r\n',
      family: 'x = "👨‍👩‍👧 ❤️ 1️⃣ 👍🏽"\n',
      persian: 'می\u200cخواهم\n',
      hindi: 'क्\u200dष\n',
      hebrew: 'שלום\n',
      latin1: Buffer.from('caf\xe9 \x93x\x94\n', 'latin1').toString('latin1'),
    };
    const bytes = (text: string): string => utf8(text);
    const to: Files = {};
    for (const [name, text] of Object.entries(hidden)) to[name] = bytes(text);
    for (const [name, text] of Object.entries(fine)) to[name] = name === 'latin1' ? text : bytes(text);
    const expected = {
      ...Object.fromEntries(Object.keys(hidden).map((name) => [name, ['hidden']])),
      ...Object.fromEntries(Object.keys(fine).map((name) => [name, []])),
    };
    assert.deepEqual(await found({}, to), expected);
    // What was there before, or goes, is not the agent's.
    const old = bytes('a\u202eb\nx\n');
    assert.deepEqual(await found({ f: old, g: old }, { f: `${old}y\n`, g: 'x\n' }), { f: [], g: [] });
    assert.deepEqual(await found({ f: 'x\n' }, { f: bytes('x\nb\u202ea\n') }), { f: ['hidden'] });
  });

  it('says where, and which character it is', async () => {
    const { files } = await readParts(
      quarantine,
      write({ f: '1\n2\n' }),
      write({ f: utf8('1\n2\n3\nx\u202ey\n') }),
    );
    assert.match(files[0]?.file.gate[0]?.why ?? '', /^Line 4 has U\+202E, which changes the order/);
  });

  it('sees names that deceive, and shows no name as it is in a reason', async () => {
    const changed = await found({}, { 'txt\u202egpj.exe': 'x', 'a\u200b.ts': 'x', 'a\nb': 'x', 'end ': 'x' });
    assert.deepEqual(Object.values(changed), [['hidden'], ['hidden'], ['hidden'], ['hidden']]);
    const raw = writeTree(quarantine.objects, new Map([['\xff.ts', { mode: '100644', content: 'x' }]]));
    assert.deepEqual(
      (await readParts(quarantine, write({}), raw)).files[0]?.file.gate.map(({ kind }) => kind),
      ['hidden'],
    );
    const { files } = await readParts(quarantine, write({}), write({ 'Ab\u202ec': 'x', 'ab\u202eC': 'y' }));
    const told = files.flatMap(({ file }) => file.gate.map(({ why }) => why)).join('\n');
    assert.ok(!told.includes('\u202e'));
  });

  it('finds one gate file among 50,000', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 49_998 }, (_, index) => [`gen/${index % 50}/${index}.txt`, 'x\n']),
    );
    const kinds = await found({}, { ...many, 'zz/.husky/pre-push': 'evil\n', 'zz/z': 'x' });
    assert.deepEqual(
      Object.entries(kinds).filter(([, list]) => list.length > 0),
      [['zz/.husky/pre-push', ['hook']]],
    );
  }).timeout('60s');
});
