import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { HostRemote } from './hostRemotes.ts';
import { serverWords, withoutPasswords } from './serverWords.ts';

/** What stands for the user when git did not get through to a remote, or was sent away. Pure. */
export function connectionFailure({ name, shown, kind, host }: HostRemote, stderr: string): SallyportError {
  const text = withoutPasswords(stderr);
  const where = `${safeLine(name, 60)} (${shown})`;
  const at = host ?? shown;
  if (/REMOTE HOST IDENTIFICATION HAS CHANGED/.test(text)) {
    return new SallyportError(
      'repository_unreachable',
      `The host key of ${at} is another than the one that ssh knows, so nothing was sent.`,
      'Somebody may stand between. Ask whoever runs that host for its new key before you change known_hosts.',
    );
  }
  if (/Host key verification failed|No .{1,20} host key is known|authenticity of host/i.test(text)) {
    return new SallyportError(
      'repository_unreachable',
      `ssh does not know the host key of ${at}, so nothing was sent.`,
      `Connect once in a terminal, such as "ssh -T git@${at}", compare the key with the one that the host publishes, then try again.`,
    );
  }
  if (/Permission denied \(|Too many authentication failures|no mutual signature/i.test(text)) {
    return new SallyportError(
      'push_unauthorized',
      `${at} took none of your ssh keys.`,
      'Look at "ssh-add -l", add the key of that account, and try "ssh -T" with that host in a terminal.',
    );
  }
  if (
    /could not read (Username|Password)|terminal prompts disabled|unable to read askpass|No credential/i.test(
      text,
    )
  ) {
    return new SallyportError(
      'push_unauthorized',
      `git has no credential for ${at}.`,
      'Set up a credential helper ("gh auth setup-git", "git config credential.helper …"), or push once in a terminal so that it is kept.',
    );
  }
  if (
    /Authentication failed|HTTP Basic: Access denied|Invalid username or|returned error: 40[13]|Permission to .* denied|not authorized|access denied|You are not allowed/i.test(
      text,
    )
  ) {
    return new SallyportError(
      'push_unauthorized',
      `${at} does not let your credential push to ${where}.${said(text)}`,
      'Check that the account may write to this repository, and renew its credential where git keeps it.',
    );
  }
  if (/SSL|certificate|schannel|TLS/i.test(text) && kind === 'https') {
    return new SallyportError(
      'repository_unreachable',
      `The certificate of ${at} could not be checked: ${lastLine(text)}`,
      'Behind a company’s proxy, name its authority with "git config http.sslCAInfo".',
    );
  }
  if (/returned error: 30\d|redirect/i.test(text)) {
    return new SallyportError(
      'repository_not_found',
      `${at} says that ${where} has moved, and a push follows no redirect.`,
      'Give the remote its new address: git remote set-url.',
    );
  }
  if (
    /repository .{0,300}not found|Repository not found|does not appear to be a git repository|returned error: 404|No such file or directory|does not exist|could not be found/i.test(
      text,
    )
  ) {
    return new SallyportError(
      'repository_not_found',
      `There is no repository at ${where}, or your credential does not see it.${said(text)}`,
      'Check the address of the remote ("git remote -v") and the account.',
    );
  }
  if (
    /Could not resolve|Connection (refused|reset|timed out|closed)|Failed to connect|Network is unreachable|No route to host|Operation timed out|took longer than|early EOF|hung up|Empty reply|port \d+:|unable to access/i.test(
      text,
    )
  ) {
    return new SallyportError(
      'repository_unreachable',
      `${at} could not be reached: ${lastLine(text)}`,
      'Check the network, and the address of the remote ("git remote -v"), then try again.',
    );
  }
  return new SallyportError(
    'push_refused',
    `git could not push to ${where}: ${lastLine(text)}${said(text)}`,
    'Try it in a terminal ("git push"), where git says more.',
  );
}

/** Why a branch was not taken, from git's own summary of it. Pure. */
export function branchRefusal(
  remote: HostRemote,
  branch: string,
  summary: string,
  stderr: string,
): SallyportError {
  const at = remote.host ?? remote.shown;
  const [, how = '', reason = ''] = /^\[([^\]]*)\](?: \((.*)\))?/s.exec(summary) ?? [];
  const why = safeLine(reason, 200);
  if (/stale info/.test(reason)) {
    return new SallyportError(
      'push_refused',
      `The branch ${branch} at ${at} has moved since you looked, so it was not overwritten.`,
      'Look at what is there now ("git fetch"), then push again or choose another branch.',
    );
  }
  if (how === 'rejected') {
    return new SallyportError(
      'push_refused',
      `The branch ${branch} at ${at} holds commits that this push would take away${why === '' ? '' : ` (${why})`}.`,
      'Choose another branch, or confirm that what is there is given up.',
    );
  }
  const isProtected = /protected/i.test(`${reason}\n${serverWords(stderr).join('\n')}`);
  return new SallyportError(
    'push_refused',
    isProtected
      ? `${at} protects the branch ${branch}, and did not take the push${why === '' ? '' : ` (${why})`}.${said(stderr)}`
      : `${at} did not take the branch ${branch}${why === '' ? '' : ` (${why})`}.${said(stderr)}`,
    isProtected
      ? 'Push to a branch of its own and open a pull request from there.'
      : 'See what the server demands, or push to another branch.',
  );
}

function said(stderr: string): string {
  const words = serverWords(stderr).slice(0, 8).join(' ');
  return words === '' ? '' : ` It said: ${safeLine(words, 800)}`;
}

function lastLine(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => safeLine(line.replace(/^(?:fatal|error|ssh): /, ''), 300))
    .filter((line) => line !== '' && !/^(?:Please make sure|and the repository exists)/.test(line));
  const told = lines.findLast((line) => !/^Could not read from remote/.test(line)) ?? lines.at(-1);
  return told === undefined ? 'it said nothing.' : /[.!?]$/.test(told) ? told : `${told}.`;
}
