import type { GateReason } from '../protocol/review.ts';
import { isCiFile } from './ciFiles.ts';

/**
 * Names of files that are run or obeyed on the host without anybody reading them: by an editor that opens the folder, by git, by
 * an agent that starts there, by a shell that enters it, by the next install, build or test. Generous on purpose: a
 * name too many costs a look, one too few lets code out of the sandbox.
 */

type Kind = GateReason['kind'];

const why = {
  editor: 'An editor obeys it as soon as it opens the folder: it can name programs that are run.',
  container:
    'A container is built or started by it on this machine, with the mounts and commands that it names.',
  agent: 'An agent that works in this folder takes it for instructions, or starts what it names.',
  hook: 'git runs it, or what it names, on this machine when something is committed, fetched or pushed.',
  git: 'It changes what git does with other files here, where it gets them from, and which programs it passes them through.',
  environment:
    'Shells and tools read it on their own in this folder: it sets what is run, and where things come from.',
  ci: 'The forge runs or obeys it as soon as it is pushed, with the secrets of the repository at hand.',
  scripts:
    'It names commands, and packages with commands, that an install, a build or a test runs on this machine.',
  lockfile: 'It says which code the next install downloads, and from where; hardly anybody reads that.',
  build:
    'It is run, or says what is run, by the next build, test or check on this machine, some by the editor on its own.',
} satisfies Partial<Record<Kind, string>>;
type NamedKind = keyof typeof why;

/** Everything below a folder of this name. */
const folders: Partial<Record<NamedKind, string>> = {
  editor: '.vscode .vscode-server .idea .vs .fleet .zed .nova .theia .sublime .vim .nvim',
  container: '.devcontainer .gitpod',
  agent:
    '.claude .claude-plugin .cursor .codex .gemini .windsurf .continue .roo .clinerules .kiro .amazonq .junie .agents .agent .opencode .augment .trae .qwen .crush .goose .aider',
  hook: '.husky .githooks .git-hooks .lefthook .pre-commit',
  environment: '.direnv .mise .mise-tasks mise-tasks .devbox .ssh .gnupg',
  scripts: '.yarn',
  build: '.cargo .mvn .gradle buildsrc .storybook .bundle .bazel .config',
};

/** Files of this name, in any folder. */
const files: Record<NamedKind, string> = {
  editor:
    '.vimrc .nvimrc .nvim.lua .exrc .lvimrc .dir-locals.el .dir-locals-2.el .clangd compile_commands.json compile_flags.txt .luarc.json .luarc.jsonc .vsconfig',
  container:
    '.devcontainer.json devcontainer.json dockerfile containerfile vagrantfile devfile.yaml .devfile.yaml .gitpod.yml .gitpod.yaml docker-bake.hcl docker-bake.json',
  agent:
    '.mcp.json mcp.json claude.md claude.local.md agents.md agents.override.md agent.md gemini.md qwen.md codex.md crush.md warp.md skill.md .cursorrules .cursorignore .windsurfrules .clinerules .roomodes .roorules .rules .goosehints .aider.conf.yml copilot-instructions.md',
  hook: '.pre-commit-config.yaml .pre-commit-config.yml .pre-commit-hooks.yaml .overcommit.yml captainhook.json grumphp.yml rusty-hook.toml .rusty-hook.toml',
  git: '.gitattributes .gitmodules .gitconfig .lfsconfig .gitallowed',
  environment:
    '.envrc .env .tool-versions .autoenv .autoenv.zsh .bashrc .bash_profile .profile .zshrc .zshenv .zprofile .npmrc .yarnrc .yarnrc.yml .pnpmrc pip.conf .pypirc .condarc bunfig.toml uv.toml .netrc .curlrc .wgetrc nuget.config devbox.json devenv.nix devenv.yaml devenv.local.nix flake.nix shell.nix default.nix .gdbinit .lldbinit .rprofile .renviron .ghci .octaverc .irbrc .pryrc .terraformrc',
  ci: 'dependabot.yml dependabot.yaml renovate.json renovate.json5 .renovaterc .renovaterc.json codeowners',
  scripts: 'composer.json deno.json deno.jsonc pnpm-workspace.yaml',
  lockfile:
    'package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb deno.lock cargo.lock poetry.lock pipfile.lock uv.lock pdm.lock pylock.toml pixi.lock conda-lock.yml gemfile.lock gems.locked composer.lock go.sum go.work.sum gradle.lockfile buildscript-gradle.lockfile verification-metadata.xml packages.lock.json paket.lock podfile.lock cartfile.resolved package.resolved mix.lock rebar.lock flake.lock devbox.lock devenv.lock pubspec.lock conan.lock stack.yaml.lock cabal.project.freeze module.bazel.lock .terraform.lock.hcl chart.lock buf.lock constraints.txt',
  build:
    'makefile gnumakefile bsdmakefile cmakelists.txt cmakepresets.json cmakeuserpresets.json ctestconfig.cmake meson.build meson_options.txt meson.options configure configure.ac configure.in build.ninja sconstruct sconscript wscript justfile .justfile rakefile gemfile gems.rb guardfile capfile podfile fastfile appfile cartfile brewfile build.gradle gradle.properties gradlew gradlew.bat gradle-wrapper.properties gradle-wrapper.jar mvnw mvnw.cmd pom.xml build.xml ivy.xml cargo.toml build.rs rust-toolchain rust-toolchain.toml go.mod go.work magefile.go setup.py setup.cfg pyproject.toml pipfile environment.yml environment.yaml tox.ini noxfile.py conftest.py pytest.ini .pytest.ini dodo.py fabfile.py sitecustomize.py usercustomize.py hatch.toml hatch_build.py .flake8 mypy.ini .mypy.ini pylintrc .pylintrc .coveragerc build.zig build.zig.zon mix.exs rebar.config stack.yaml setup.hs setup.lhs cabal.project dune dune-project dune-workspace package.swift global.json build.cake build.fsx paket.dependencies build build.bazel workspace workspace.bazel module.bazel .bazelrc nx.json project.json workspace.json turbo.json turbo.jsonc lerna.json rush.json angular.json gulpfile gruntfile jakefile wireit.json tsconfig.json jsconfig.json .swcrc .nycrc .rspec .rubocop.yml .simplecov phpunit.xml phpunit.xml.dist phpstan.neon phpstan.neon.dist psalm.xml rector.php .php-cs-fixer.php .php-cs-fixer.dist.php makefile.pl build.pl cpanfile procfile tiltfile earthfile skaffold.yaml ansible.cfg helmfile.yaml binding.gyp',
};

/** By a part of the last name. */
const patterns: readonly (readonly [NamedKind, RegExp])[] = [
  ['editor', /\.(?:code-workspace|sublime-project|sublime-workspace|iml|ipr|iws)$/],
  ['container', /(?:^|\.)(?:dockerfile|containerfile)(?:\.|$)|^(?:docker-)?compose(?:[.-][^/]*)?\.ya?ml$/],
  ['agent', /\.(?:instructions|prompt|chatmode|agent)\.md$|\.mdc$/],
  [
    'hook',
    /^\.?(?:lefthook|lefthook-local)\.|^\.?(?:lint-?staged|simple-git-hooks|husky|commitlint)(?:rc)?(?:\.|$)/,
  ],
  ['environment', /^\.env\.|^\.?mise\.|^\.pnpmfile\.|^\.rtx\./],
  ['lockfile', /requirements[^/]*\.(?:txt|in)$/],
  [
    'build',
    /\.(?:mk|mak|cmake|just|rake|gemspec|gradle|gradle\.kts|sbt|cabal|opam|bzl|pth|podspec|gyp|gypi|csproj|fsproj|vbproj|vcxproj|proj|props|targets)$/,
  ],
  ['build', /^(?:makefile|gulpfile|gruntfile|jakefile|procfile)[.-]|^taskfile\..*ya?ml$/],
  ['build', /^(?:webpack|esbuild|rollup|vite|vitest|karma|tsup)[.-].*\.[cm]?[jt]sx?$/],
  ['build', /\.(?:config|conf|workspace)\.(?:[cm]?[jt]sx?|json5?|ya?ml)$|^tsconfig[.-][^/]*\.json$/],
  [
    'build',
    /^\.(?:eslint|babel|prettier|stylelint|mocha|postcss|terser|c8|nyc|remark|xo|ava|jest|tap|swc|huskyrc|markdownlint)(?:rc)?(?:\.|$)/,
  ],
];

/** Whole paths, where a name alone says too little. */
const paths: readonly (readonly [NamedKind, RegExp])[] = [
  ['agent', /(?:^|\/)\.github\/(?:instructions|prompts|chatmodes|agents|skills|copilot[^/]*)(?:\/|$)/],
  ['build', /(?:^|\/)gradle\/wrapper\//],
  ['build', /(?:^|\/)project\/[^/]*\.(?:sbt|scala|properties)$/],
  [
    'hook',
    /(?:^|\/)(?:git-?)?hooks\/(?:applypatch-msg|pre-applypatch|post-applypatch|pre-commit|pre-merge-commit|prepare-commit-msg|commit-msg|post-commit|pre-rebase|post-checkout|post-merge|pre-push|post-rewrite|pre-auto-gc|reference-transaction)$/,
  ],
];

const byFolder = table(folders);
const byFile = table(files);

/**
 * Why a file of this path matters; undefined when its name says nothing. `package.json` is not here, because what changed in it
 * decides.
 * @param path folded, as `foldPath` has it
 */
export function namedReason(path: string): GateReason | undefined {
  const kind = namedKind(path);
  return kind === undefined ? undefined : { kind, why: why[kind] };
}

function namedKind(path: string): NamedKind | undefined {
  if (isCiFile(path)) return 'ci';
  const parts = path.split('/');
  const name = parts.at(-1) ?? '';
  for (const part of parts) {
    // The name of a link or a submodule may be a folder's.
    const found = byFolder.get(part);
    if (found !== undefined) return found;
  }
  return (
    byFile.get(name) ??
    patterns.find(([, pattern]) => pattern.test(name))?.[0] ??
    paths.find(([, pattern]) => pattern.test(path))?.[0]
  );
}

export const scriptsReason = why.scripts;

function table(names: Partial<Record<NamedKind, string>>): Map<string, NamedKind> {
  const found = new Map<string, NamedKind>();
  for (const [kind, list] of Object.entries(names) as [NamedKind, string][])
    for (const name of list.split(' ')) found.set(name, kind);
  return found;
}
