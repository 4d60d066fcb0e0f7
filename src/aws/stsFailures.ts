import { SallyportError } from '../base/errors.ts';
import type { AwsProfileKind } from '../credentials/awsProfiles.ts';
import { codeOf } from '../credentials/reach.ts';
import { unreachable } from '../credentials/serviceFailures.ts';

/** What the sentences about a failure need; holds no secret. */
export interface Attempt {
  /** "profile work", "the environment". */
  source: string;
  /** The profile, where there is one, and how it, or the one behind it, gets credentials. */
  profile?: string;
  kind?: AwsProfileKind;
  /** The role that was to be taken on. */
  roleArn?: string;
  sessionSeconds?: number;
  /** Host that was asked. */
  host: string;
}

/**
 * What a failure of AWS means. The SDK's own message helps to choose, and is not told on: it can quote a request, a
 * program's output or a file. Neither is the error itself: it holds the response.
 */
export function stsFailure(thrown: unknown, attempt: Attempt): Error {
  if (thrown instanceof SallyportError) return thrown;
  const error = thrown instanceof Error ? thrown : new Error();
  if (error.name === 'AbortError') return new DOMException('Aborted', 'AbortError');
  const { source, roleArn, sessionSeconds, host } = attempt;
  const text = error.message;
  const role = roleArn === undefined ? 'the role' : `the role ${roleArn}`;
  // The service's code and the SDK's class for it differ by this ending.
  const name = error.name.replace(/Exception$/, '');
  switch (name) {
    case 'ExpiredToken':
    case 'TokenRefreshRequired':
    case 'Unauthorized':
    case 'RequestExpired':
      return new SallyportError(
        'auth_expired',
        `The AWS credentials of ${source} have expired.`,
        newOnes(attempt),
      );
    case 'InvalidClientTokenId':
    case 'UnrecognizedClient':
    case 'InvalidAccessKeyId':
    case 'AuthFailure':
    case 'InvalidIdentityToken':
      return new SallyportError(
        'auth_refused',
        `AWS does not know the credentials of ${source}: the key was deleted, switched off or mistyped.`,
        newOnes(attempt),
      );
    case 'SignatureDoesNotMatch':
    case 'IncompleteSignature':
      return new SallyportError(
        'auth_refused',
        `AWS does not accept the signature made with the keys of ${source}: the secret key is wrong, or this machine's clock is.`,
        'Set the clock, or enter the keys anew with `aws configure`.',
      );
    case 'AccessDenied':
      if (/MultiFactorAuthentication/i.test(text)) {
        return new SallyportError(
          'auth_refused',
          `AWS wants a good MFA code for ${role}.`,
          'Try again with the code that the device shows now.',
        );
      }
      return roleArn === undefined
        ? new SallyportError(
            'cloud_misconfigured',
            `AWS does not let ${source} get temporary credentials.`,
            'Allow sts:GetSessionToken (or sts:GetFederationToken, with a session policy) to the user, or name a role in the profile or in sallyport.bedrock.roleArn.',
          )
        : new SallyportError(
            'cloud_misconfigured',
            `AWS does not let ${source} take on ${role}.`,
            "Allow sts:AssumeRole on the role to the caller, and name the caller in the role's trust policy, with the external id if it wants one.",
          );
    case 'ValidationError':
    case 'Validation':
      if (/role chaining/i.test(text)) {
        return new SallyportError(
          'cloud_misconfigured',
          `AWS does not give ${seconds(sessionSeconds)} for ${role}: the credentials of ${source} are those of a role themselves (also with single sign-on), and a role that is taken on from a role lives one hour at most.`,
          'Set sallyport.bedrock.sessionSeconds to 3600 or less; Sallyport renews the credentials before they expire.',
        );
      }
      if (/MaxSessionDuration/i.test(text)) {
        return new SallyportError(
          'cloud_misconfigured',
          `AWS does not give ${seconds(sessionSeconds)} for ${role}: that is more than the role's own maximum.`,
          'Set sallyport.bedrock.sessionSeconds lower, or raise MaxSessionDuration of the role; Sallyport renews the credentials before they expire.',
        );
      }
      return new SallyportError(
        'cloud_misconfigured',
        `AWS finds a fault in the request for ${role}.`,
        'Check the ARN of the role, the life of the session and the session policy.',
      );
    case 'MalformedPolicyDocument':
    case 'PackedPolicyTooLarge':
      return new SallyportError(
        'cloud_misconfigured',
        name === 'PackedPolicyTooLarge'
          ? 'The session policy is too large.'
          : 'AWS does not understand the session policy.',
        'Correct sallyport.bedrock.sessionPolicy.',
      );
    case 'RegionDisabled':
      return new SallyportError(
        'cloud_misconfigured',
        'AWS STS is not active in this region for the account.',
        'Activate it in the account settings of IAM, or choose another region.',
      );
    case 'Throttling':
    case 'TooManyRequests':
      return new SallyportError(
        'capacity_reached',
        'AWS STS has too many requests just now.',
        'Try again in a minute.',
      );
    default:
      return providerFailure(error, attempt) ?? unreachable({ name: host }, codeOf(error));
  }
}

/** A failure on the way to the first credentials, before STS was asked. */
function providerFailure(error: Error, attempt: Attempt): SallyportError | undefined {
  if (!/Provider(?:Error)?$|^CredentialsProviderError$|^TokenProviderError$/.test(error.name))
    return undefined;
  const { source, kind } = attempt;
  if (/cycle/i.test(error.message)) {
    return new SallyportError(
      'cloud_misconfigured',
      `The AWS configuration of ${source} goes round in a circle.`,
      'Correct source_profile in ~/.aws/config.',
    );
  }
  if (kind === 'sso' || kind === 'login') {
    return new SallyportError(
      'auth_expired',
      `The AWS login of ${source} has expired, or there was none.`,
      newOnes(attempt),
    );
  }
  if (kind === 'process') {
    return new SallyportError(
      'auth_refused',
      `The program that ${source} names (credential_process) gave no credentials.`,
      'Run it in a terminal to see why.',
    );
  }
  if (attempt.profile === undefined) {
    return new SallyportError(
      'no_credentials',
      'There are no AWS credentials: not in the environment, not in the default profile, and not from the container or the machine.',
      'Name a profile (sallyport.bedrock.profile, AWS_PROFILE), or make one: `aws configure sso`.',
    );
  }
  return new SallyportError(
    'invalid_credential',
    `No AWS credentials can be made of ${source}.`,
    'Look at it with `aws configure list`, and correct ~/.aws/config.',
  );
}

function newOnes({ profile, kind }: Attempt): string {
  const name =
    profile === undefined ? '' : ` --profile ${/^[\w.-]+$/.test(profile) ? profile : `"${profile}"`}`;
  if (kind === 'sso') return `Run \`aws sso login${name}\`.`;
  if (kind === 'login') return `Run \`aws login${name}\`.`;
  if (kind === undefined) return 'Set new ones in the environment and start again.';
  return `Enter new ones with \`aws configure${name}\`, or however this profile gets them.`;
}

function seconds(count: number | undefined): string {
  return count === undefined ? 'so long a session' : `a session of ${count} seconds`;
}
