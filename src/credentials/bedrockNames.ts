import { SallyportError } from '../base/errors.ts';

const region = /^[a-z]{2}(?:-[a-z]+)+-\d$/;
const modelId =
  /^(?:(?:us|us-gov|eu|apac|jp|au|ca|sa|me|af|global)\.)?[a-z0-9]+\.[a-z0-9][a-z0-9._-]{1,120}(?::\d{1,3}[a-z0-9]*){0,2}$/;
const modelArn =
  /^arn:aws(?:-[a-z]+)*:bedrock:([a-z0-9-]+):(?:\d{12})?:(?:inference-profile|application-inference-profile|foundation-model|provisioned-model|custom-model-deployment|imported-model)\/[a-zA-Z0-9._:-]{1,200}$/;
const roleArn = /^arn:aws(?:-[a-z]+)*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/;

/** Seconds, as AWS STS has it for roles. */
const sessionLimits = { min: 900, max: 43_200 };
/** Characters, as AWS STS has it. */
const longestPolicy = 2048;

/** Says what is wrong with a Bedrock model id or ARN, or nothing. */
export function problemWithBedrockModel(model: string, inRegion: string): string | undefined {
  const arnRegion = modelArn.exec(model)?.[1];
  if (arnRegion !== undefined) {
    return arnRegion === inRegion
      ? undefined
      : `The ARN belongs to region ${arnRegion}, and ${inRegion} is used.`;
  }
  if (modelId.test(model)) return undefined;
  return 'It is no Bedrock model id (us.anthropic.claude-…-v1:0) and no ARN of an inference profile.';
}

/** What the settings say of a Bedrock session. */
export interface BedrockWishes {
  roleArn?: string;
  sessionSeconds?: number;
  sessionPolicy?: string;
}

/** @throws SallyportError cloud_misconfigured */
export function checkRegion(text: string | undefined, source: string): string {
  if (text === undefined) {
    throw wrong(
      `There is no AWS region for ${source}.`,
      'Set sallyport.bedrock.region, AWS_REGION, or `region` in the profile.',
    );
  }
  if (!region.test(text)) throw wrong('The AWS region has no valid name.', 'It looks like eu-central-1.');
  return text;
}

/** @throws SallyportError cloud_misconfigured */
export function checkWishes({ roleArn: role, sessionSeconds, sessionPolicy }: BedrockWishes): void {
  if (role !== undefined && !roleArn.test(role))
    throw wrong('The role is no ARN of an IAM role.', 'It looks like arn:aws:iam::123456789012:role/name.');
  const { min, max } = sessionLimits;
  if (
    sessionSeconds !== undefined &&
    !(Number.isInteger(sessionSeconds) && sessionSeconds >= min && sessionSeconds <= max)
  )
    throw wrong(
      `AWS credentials cannot live ${sessionSeconds} seconds.`,
      `Choose between ${min} and ${max} seconds.`,
    );
  if (sessionPolicy === undefined) return;
  let policy: unknown;
  try {
    policy = JSON.parse(sessionPolicy);
  } catch {
    throw wrong(
      'The session policy is no JSON.',
      'Write it as an IAM policy: {"Version":"2012-10-17","Statement":[…]}.',
    );
  }
  if (typeof policy !== 'object' || policy === null || !('Statement' in policy))
    throw wrong(
      'The session policy has no Statement.',
      'Write it as an IAM policy: {"Version":"2012-10-17","Statement":[…]}.',
    );
  if (sessionPolicy.length > longestPolicy)
    throw wrong(
      `The session policy has ${sessionPolicy.length} characters; AWS takes ${longestPolicy}.`,
      'Shorten it.',
    );
}

function wrong(message: string, mend: string): SallyportError {
  return new SallyportError('cloud_misconfigured', message, mend);
}
