import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

describe('documents', () => {
  it('list all 79 features, once and in order, each with its state', () => {
    const rows = read('docs/features.md')
      .split('\n')
      .flatMap((line) => /^\| (\d+) \|.*\| ([^|]*) \|$/.exec(line) ?? [])
      .filter((cell) => !cell.startsWith('| '));
    const numbers = rows.filter((_, i) => i % 2 === 0).map(Number);
    assert.deepEqual(
      numbers,
      Array.from({ length: 79 }, (_, i) => i + 1),
    );
    const states = rows.filter((_, i) => i % 2 === 1);
    assert.deepEqual(
      states.filter((state) => !/^(done|partly|planned)/.test(state)),
      [],
    );
    const count = (word: string): number => states.filter((state) => state.startsWith(word)).length;
    assert.match(
      read('docs/features.md'),
      new RegExp(
        `Of 79 rows ${count('done')} are done, ${count('partly')} partly, ${count('planned')} planned\\.`,
      ),
    );
  });

  it('name tests that exist under their titles', () => {
    let titles = 0;
    for (const cell of read('docs/features.md').split(/\||<br>/)) {
      const file = /`(test\/[\w/.]+\.test\.ts)`: /.exec(cell)?.[1];
      if (file === undefined) continue;
      assert.ok(existsSync(join(root, file)), `${file} does not exist`);
      const text = read(file).replaceAll("\\'", "'");
      for (const [, title = ''] of cell.matchAll(/\*([^*]+)\*/g)) {
        titles++;
        assert.ok(text.includes(title), `${file} has no test "${title}"`);
      }
    }
    assert.ok(titles > 30, `only ${titles} titles were found`);
  });

  it('name commands and settings that the manifest has', () => {
    const manifest = JSON.parse(read('package.json')) as {
      contributes: {
        commands: { command: string }[];
        configuration: { properties: object } | { properties: object }[];
      };
    };
    const { commands, configuration } = manifest.contributes;
    const groups = Array.isArray(configuration) ? configuration : [configuration];
    const known = new Set([
      ...commands.map(({ command }) => command),
      ...groups.flatMap(({ properties }) => Object.keys(properties)),
    ]);
    const documents = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)];
    for (const document of documents.filter((name) => name.endsWith('.md'))) {
      for (const [, name = ''] of read(document).matchAll(/`(sallyport\.[a-zA-Z.]+[a-zA-Z])`/g)) {
        assert.ok(known.has(name), `${document} names ${name}, which the manifest has not`);
      }
    }
  });

  it('explain every dependency in a line of its own', () => {
    const { devDependencies } = JSON.parse(read('package.json')) as {
      devDependencies: Record<string, string>;
    };
    const text = read('docs/dependencies.md');
    const missing = Object.keys(devDependencies).filter((name) => !text.includes(`\`${name}\``));
    assert.deepEqual(missing, []);
  });

  it('link only to what is there', () => {
    for (const document of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md']) {
      for (const [, target = ''] of read(document).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)) {
        assert.ok(existsSync(join(root, target)), `${document} links to ${target}, which does not exist`);
      }
    }
  });
});
