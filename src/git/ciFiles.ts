/**
 * Files that a forge runs or obeys as soon as a branch with them is pushed, with the repository's own secrets at hand. In
 * any spelling, because a forge's disk may not tell cases apart.
 */
const patterns: readonly RegExp[] = [
  /^\.(github|gitea|forgejo)\/(workflows|actions)\//i,
  /(^|\/)action\.ya?ml$/i,
  /(^|\/)\.gitlab-ci\.ya?ml$/i,
  /^\.gitlab\//i,
  /^\.(circleci|buildkite|woodpecker|semaphore|cirrus)\//i,
  /^\.(travis|drone|woodpecker|cirrus|appveyor)\.(ya?ml|star)$/i,
  /^(appveyor|azure-pipelines|bitbucket-pipelines|cloudbuild|buildspec|wercker)[^/]*\.ya?ml$/i,
  /^\.azure-pipelines\//i,
  /(^|\/)jenkinsfile[^/]*$/i,
];

/** True for a path that a continuous integration would take its orders from. */
export function isCiFile(path: string): boolean {
  return patterns.some((pattern) => pattern.test(path));
}
