import type { ErrorCode } from '../../base/errors.ts';

export interface ProblemButton {
  title: string;
  /** A command of the editor, or `retry`. */
  command: string;
  args?: unknown[];
}

const setKey: ProblemButton = { title: 'Set API Key', command: 'sallyport.setCredential' };
const demonstration: ProblemButton = {
  title: 'Use Demonstration Model',
  command: 'sallyport.useDemonstration',
};
const choose: ProblemButton = { title: 'Choose Credential…', command: 'sallyport.credentials' };
const docs: ProblemButton = { title: 'Open Docs', command: 'sallyport.openCredentialDocs' };
const doctor: ProblemButton = { title: 'Run Doctor', command: 'sallyport.doctor' };
const log: ProblemButton = { title: 'Show Log', command: 'sallyport.showOutput' };
const again: ProblemButton = { title: 'Retry', command: 'retry' };
const signIn: ProblemButton = { title: 'Sign In Again', command: 'sallyport.signInRunner' };
const forgeToken: ProblemButton = { title: 'Set Forge Token…', command: 'sallyport.setForgeToken' };
const runners: ProblemButton = { title: 'Runners…', command: 'sallyport.runners' };
const settings = (query: string): ProblemButton => ({
  title: 'Open Settings',
  command: 'workbench.action.openSettings',
  args: [query],
});

/** The buttons that can help with a failure, best first. */
export function problemButtons(code: ErrorCode, canRetry: boolean): ProblemButton[] {
  const retry = canRetry ? [again] : [];
  switch (code) {
    case 'no_credentials':
      return [setKey, choose, demonstration];
    case 'invalid_credential':
      return [setKey, choose];
    case 'auth_expired':
    case 'auth_refused':
      return [...retry, choose, setKey, docs];
    case 'capacity_reached':
      return [...retry, choose];
    case 'not_enabled':
    case 'cloud_misconfigured':
      return [...retry, choose, settings('sallyport.bedrock'), docs];
    case 'model_unreachable':
      return [...retry, settings('sallyport.network'), doctor];
    case 'invalid_rule':
      return [settings('sallyport.egress')];
    case 'engine_absent':
    case 'engine_not_running':
    case 'engine_forbidden':
    case 'engine_unsupported':
    case 'engine_gone':
      return [...retry, doctor, settings('sallyport.engine')];
    case 'image_build_failed':
    case 'image_base_unavailable':
    case 'sandbox_failed':
      return [...retry, doctor, log];
    case 'no_repository':
      return [{ title: 'Initialize Repository', command: 'git.init' }];
    case 'disk_full':
    case 'repository_too_large':
      return [...retry, settings('sallyport.dataFolder')];
    case 'git_missing':
    case 'git_failed':
    case 'import_refused':
    case 'log_damaged':
    case 'internal':
      return [...retry, log];
    case 'unauthorized':
      return [...retry, signIn, runners];
    case 'runner_unreachable':
      return [...retry, runners, settings('sallyport.network')];
    case 'push_unauthorized':
    case 'repository_unreachable':
      return [...retry, log];
    case 'forge_refused':
    case 'repository_not_found':
      return [...retry, forgeToken, settings('sallyport.forge')];
    case 'forbidden':
    case 'runner_version':
      return [...retry, runners];
    case 'push_refused':
    case 'push_protected':
    case 'no_remote':
    case 'forge_unreachable':
    case 'nothing_to_accept':
    case 'not_found':
    case 'conflict':
    case 'too_many_requests':
    case 'bare_repository':
    case 'no_commit':
    case 'operation_in_progress':
    case 'unsupported_repository':
    case 'branch_exists':
    case 'task_busy':
      return retry;
    case 'prompt_empty':
    case 'prompt_too_long':
    case 'invalid_branch':
    case 'task_unknown':
    case 'commits_not_imported':
    case 'secrets_found':
    case 'invalid_input':
    case 'cancelled':
      return [];
    default:
      // A code that is newer than this list.
      return [...retry, log];
  }
}
