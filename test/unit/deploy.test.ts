import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { parseAllDocuments } from 'yaml';
import { runnerTag } from '../../scripts/lib/runnerImage.mjs';
import { defaultPort } from '../../src/server/operation/readConfig.ts';

const root = resolve(import.meta.dirname, '..', '..');
const folder = join(root, 'docs', 'deploy');

/** Every file that can be applied, by its path in the folder. */
const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name !== 'README.md')
  .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  .sort();

function textOf(file: string): string {
  return readFileSync(join(folder, file), 'utf8');
}

/** Functions of CloudFormation, which stand in the place of a text. */
const customTags = ['!Ref', '!Sub', '!GetAtt'].map((tag) => ({ tag, resolve: (text: string) => text }));

/** All documents in a file. Throws for one that is none. */
function documentsOf(file: string): unknown[] {
  const text = textOf(file);
  if (file.endsWith('.json')) return [JSON.parse(text)];
  if (file.endsWith('.toml')) return [parseToml(text)];
  return parseAllDocuments(text, { customTags, uniqueKeys: true, strict: true }).map((document) => {
    assert.deepEqual(document.errors, [], file);
    assert.deepEqual(document.warnings, [], file);
    return document.toJS() as unknown;
  });
}

/** Every key with a value that is no list and no map, in whatever depth. */
function* leaves(value: unknown, path: string[] = []): Generator<{ path: string[]; value: unknown }> {
  if (typeof value !== 'object' || value === null) yield { path, value };
  else for (const [key, inner] of Object.entries(value)) yield* leaves(inner, [...path, key]);
}

function textIn(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Every map, in whatever depth. */
function* maps(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield value as Record<string, unknown>;
  for (const inner of Object.values(value)) yield* maps(inner);
}

const isVariable = /^[A-Z][A-Z0-9_]{2,}$/;

/** Variables of the container's environment: as keys with a text, or as `name` or `key` beside a value. */
function variablesOf(file: string): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const document of documentsOf(file)) {
    for (const map of maps(document)) {
      const name = map['name'] ?? map['key'] ?? map['Name'];
      const isOne = Object.keys(map).some((key) =>
        /^(value|Value|valueFrom|ValueFrom|secretRef|type|sync|generateValue)$/.test(key),
      );
      if (typeof name === 'string' && isVariable.test(name) && isOne)
        found.set(name, map['value'] ?? map['Value']);
      for (const [key, value] of Object.entries(map)) {
        if (key.startsWith('SALLYPORT_') || key === 'PORT') found.set(key, value);
      }
    }
  }
  return found;
}

/** What `readConfig` and the sources of credentials read, as docs/runner.md lists them. */
function knownVariables(): Set<string> {
  const source = readFileSync(join(root, 'src', 'server', 'operation', 'readConfig.ts'), 'utf8');
  const read = [...source.matchAll(/'([A-Z][A-Z0-9_]+)'/g)].map(([, name]) => name ?? '');
  return new Set([...read, 'ANTHROPIC_API_KEY', 'CLAUDE_CODE_OAUTH_TOKEN']);
}

/** Of the platforms or of the engine, not of the server. */
const foreign = new Set([
  'WEBSITES_PORT',
  'WEBSITES_ENABLE_APP_SERVICE_STORAGE',
  'DOCKER_TLS_CERTDIR',
  'DOCKER_TLS_SAN',
]);
const secrets = /^(SALLYPORT_SECRET_KEY|SALLYPORT_ENGINE_(CA|CERT|KEY)|ANTHROPIC_API_KEY|GITHUB_TOKEN)$/;
/** Files that add to another one, or that only say how the image is started. */
const partial = new Set([
  'gke.yaml',
  'aks.yaml',
  'fly-engine.toml',
  'heroku/heroku.yml',
  'heroku/Dockerfile',
  'railway/railway.json',
  'railway/Dockerfile',
]);

describe('files for platforms', () => {
  it('are all in the table, and the table names no other', () => {
    const readme = textOf('README.md');
    const linked = [...readme.matchAll(/^\|.*$/gm)]
      .flatMap(([row]) => [...row.matchAll(/\]\(([^)#]+)\)/g)])
      .map(([, path]) => path ?? '');
    assert.deepEqual(linked.filter((path) => !path.startsWith('../')).sort(), files);
    for (const platform of [
      'App Runner',
      'ECS on Fargate',
      'Elastic Beanstalk',
      'Lightsail',
      'Cloud Run',
      'GKE',
      'App Engine',
      'Container Apps',
      'App Service',
      'Container Instances',
      'AKS',
      'Fly.io',
      'Railway',
      'Render',
      'DigitalOcean App Platform',
      'Heroku',
      'Kubernetes',
    ])
      assert.match(readme, new RegExp(`^\\| [^|]*${platform.replace('.', '\\.')}`, 'm'), platform);
  });

  for (const file of files) {
    it(`${file} is whole, and sets what the server knows`, () => {
      const text = textOf(file);
      const image = runnerTag.replace('.', '\\.');
      if (file.endsWith('Dockerfile')) {
        assert.match(text, new RegExp(`^FROM registry\\.example\\.com/${image}\\n$`));
        return;
      }
      const documents = documentsOf(file);
      assert.ok(documents.length > 0);
      for (const document of documents) assert.equal(typeof document, 'object', file);
      // Every image of the runner has the name and the version of this one.
      const tag = runnerTag.split(':')[1] ?? '';
      for (const [found] of text.matchAll(/sallyport[/-]runner:[\w.]+/g))
        assert.equal(found.split(':')[1], tag);
      const variables = variablesOf(file);
      const known = knownVariables();
      for (const [name, value] of variables) {
        if (foreign.has(name)) continue;
        assert.ok(
          known.has(name) || known.has(name.replace(/_FILE$/, '')),
          `${file} sets ${name}, which the server does not know`,
        );
        if (!secrets.test(name)) continue;
        assert.ok(
          value === undefined || /^(\$\{SecretArn\}:|\[concat\('@Microsoft\.KeyVault\()/.test(textIn(value)),
          `${file} holds a value of ${name}`,
        );
      }
      assert.doesNotMatch(text, /-----BEGIN|sk-ant-|ghp_|slp_[A-Za-z0-9]|AKIA[0-9A-Z]{16}/);
      if (partial.has(file)) return;
      assert.ok(
        variables.has('SALLYPORT_PUBLIC_URL') || /SALLYPORT_PUBLIC_URL/.test(text),
        'SALLYPORT_PUBLIC_URL is missing',
      );
      assert.ok(
        variables.has('SALLYPORT_ENGINE') || /SALLYPORT_ENGINE=/.test(text),
        'SALLYPORT_ENGINE is missing',
      );
      assert.ok(
        variables.has('SALLYPORT_TRUSTED_PROXIES') ||
          variables.has('SALLYPORT_TLS_CERT') ||
          /SALLYPORT_TRUSTED_PROXIES=/.test(text),
        'neither a proxy nor a certificate',
      );
      const engine = textIn(variables.get('SALLYPORT_ENGINE'));
      // An engine elsewhere is reached with certificates, unless the template has it as a parameter with them.
      if (
        /^tcp:|^Engine$|parameters\('engine'\)/.test(engine) &&
        file !== 'app-engine.app.yaml' &&
        file !== 'fly.toml'
      )
        for (const part of ['CA', 'CERT', 'KEY'])
          assert.match(text, new RegExp(`SALLYPORT_ENGINE_${part}`), `the engine of ${file} has no ${part}`);
    });

    it(`${file} names one port, and the path at which health is asked for`, () => {
      if (file.endsWith('Dockerfile')) {
        assert.doesNotMatch(textOf(file), /EXPOSE|HEALTHCHECK/);
        return;
      }
      const all = documentsOf(file).flatMap((document) => [...leaves(document)]);
      const said = variablesOf(file);
      const port = Number(said.get('SALLYPORT_PORT') ?? said.get('PORT') ?? defaultPort);
      for (const { path, value } of all) {
        const key = path.at(-1) ?? '';
        if (/^(containerPort|ContainerPort|targetPort|http_port|internal_port|WEBSITES_PORT)$/.test(key))
          assert.ok(
            value === port || value === 'http',
            `${path.join('.')} is ${String(value)}, and the server listens on ${port}`,
          );
        if (
          /^(path|Path|http_path|healthCheckPath|healthcheckPath|requestPath)$/.test(key) &&
          path.some((part) => /health|check|probe|httpGet/i.test(part))
        )
          assert.equal(value, '/health/live', path.join('.'));
      }
      const composed = file.includes('compose') || file.startsWith('lightsail');
      if (partial.has(file) || composed) return;
      const asks = all.some(
        ({ path, value }) => value === '/health/live' || (value === 'health' && path.includes('HealthCheck')),
      );
      assert.ok(asks, `${file} asks for no health`);
    });
  }

  it('kubernetes.yaml gives privileges to the engine only, and the server has its data for itself', () => {
    const deployment = documentsOf('kubernetes.yaml').find(
      (one) => (one as { kind?: string }).kind === 'Deployment',
    ) as {
      spec: {
        replicas: number;
        strategy: { type: string };
        template: {
          spec: {
            automountServiceAccountToken: boolean;
            containers: {
              name: string;
              securityContext: Record<string, unknown>;
              volumeMounts: { name: string }[];
            }[];
            volumes: { name: string }[];
          };
        };
      };
    };
    const { replicas, strategy, template } = deployment.spec;
    assert.equal(replicas, 1);
    assert.equal(strategy.type, 'Recreate');
    assert.equal(template.spec.automountServiceAccountToken, false);
    const [runner, engine] = template.spec.containers;
    assert.ok(runner && engine);
    assert.equal(engine.securityContext['privileged'], true);
    assert.equal(runner.securityContext['privileged'], undefined);
    assert.equal(runner.securityContext['runAsNonRoot'], true);
    assert.equal(runner.securityContext['readOnlyRootFilesystem'], true);
    const volumes = template.spec.volumes.map(({ name }) => name);
    for (const { volumeMounts } of [runner, engine])
      for (const { name } of volumeMounts) assert.ok(volumes.includes(name), name);
  });
});
