import { createHash } from 'node:crypto';
import { SallyportError } from '../base/errors.ts';
import { readGoogleDefault, type GoogleFile } from '../credentials/googleDefault.ts';
import { SharedTokens } from '../credentials/sharedTokens.ts';
import { nonEmpty } from '../credentials/surroundings.ts';
import type { googleToken } from '../google/vertex.ts';
import type { Upstream } from '../protocol/control.ts';
import type { ChosenSource } from './modelSources.ts';
import { broken, type Candidate, type CloudContext, isOn, misconfigured } from './modelSourcesCandidate.ts';

type Token = Awaited<ReturnType<typeof googleToken>>;

/** Finds what Vertex AI can be used with, and shares the access token among tasks. */
export class VertexSources {
  private readonly shared: SharedTokens<Token>;

  constructor(now: () => number) {
    this.shared = new SharedTokens(now, ({ value }) => value);
  }

  /** Undefined where nothing points to Google. */
  async find(context: CloudContext): Promise<Candidate | undefined> {
    const { around, settings } = context;
    const automatic =
      isOn(around.env['CLAUDE_CODE_USE_VERTEX']) || nonEmpty(settings.vertexProject) !== undefined;
    const found = await readGoogleDefault(around);
    const id = 'vertex';
    if (found === undefined) {
      if (!automatic) return undefined;
      const problem = new SallyportError(
        'no_credentials',
        'Vertex AI is asked for, and there are no Application Default Credentials.',
        'Run `gcloud auth application-default login`.',
      );
      return broken({ id, label: 'Vertex AI', state: 'unusable' }, automatic, problem);
    }
    const { place, file, account, problem } = found;
    const label = `Vertex AI with the Google credentials from ${place}`;
    if (file === undefined) {
      const mend =
        'Run `gcloud auth application-default login`, or name the key file of a service account in GOOGLE_APPLICATION_CREDENTIALS.';
      const failure = new SallyportError(
        'invalid_credential',
        `${place} cannot be used: ${problem ?? 'it is unknown'}.`,
        mend,
      );
      return broken({ id, label, state: 'unusable' }, automatic, failure);
    }
    const type = file.type === 'authorized_user' ? 'login of a user' : 'service account';
    const project = projectOf(context, found.project);
    const parts = [type, account, project, automatic ? undefined : 'used when it is chosen'];
    return {
      source: {
        id,
        purpose: 'model',
        label,
        state: 'ready',
        detail: parts.filter((part) => part !== undefined).join(', '),
      },
      automatic,
      open: (signal) => this.open(context, file, place, project, label, signal),
    };
  }

  private async open(
    { around, settings }: CloudContext,
    file: GoogleFile,
    place: string,
    project: string | undefined,
    label: string,
    signal: AbortSignal | undefined,
  ): Promise<ChosenSource> {
    if (project === undefined) {
      throw misconfigured(
        'There is no Google Cloud project for Vertex AI, or its id is not valid.',
        'Set sallyport.vertex.project or ANTHROPIC_VERTEX_PROJECT_ID.',
      );
    }
    const region = nonEmpty(settings.vertexRegion) ?? nonEmpty(around.env['CLOUD_ML_REGION']);
    if (region === undefined || !/^[a-z0-9-]{2,40}$/.test(region)) {
      throw misconfigured(
        region === undefined
          ? 'There is no region for Vertex AI.'
          : 'The region for Vertex AI has no valid name.',
        'Set sallyport.vertex.region or CLOUD_ML_REGION: europe-west1, us-east5, global, …',
      );
    }
    const { fetch } = around;
    const make = async (): Promise<Token> => {
      const google = await import('../google/vertex.ts');
      return await google.googleToken(file, { place, fetch });
    };
    // A digest, so that no key of a map is a secret.
    const key = createHash('sha256').update(JSON.stringify(file)).digest('hex');
    const upstreamOf = ({ value, expiresAt }: Token): Upstream => ({
      kind: 'vertex',
      project,
      region,
      ...endpoint(around.env),
      accessToken: value,
      ...(expiresAt === undefined ? {} : { expiresAt }),
    });
    let token = await this.shared.get(key, make, signal);
    return {
      sourceId: 'vertex',
      label: `${label} (${project}, ${region})`,
      demonstration: false,
      service: { kind: 'vertex', project, region },
      upstream: upstreamOf(token),
      renew: async (_reason, renewalSignal) => {
        const fresh = await this.shared.renew(key, token, make, renewalSignal);
        if (fresh === undefined) {
          throw new SallyportError(
            'auth_refused',
            'Vertex AI refuses an access token that was made just now.',
            'See in the console of Google Cloud whether the account may use Vertex AI.',
          );
        }
        token = fresh;
        return upstreamOf(fresh);
      },
    };
  }
}

function projectOf({ around, settings }: CloudContext, ofFile: string | undefined): string | undefined {
  const { env } = around;
  const text =
    nonEmpty(settings.vertexProject) ??
    nonEmpty(env['ANTHROPIC_VERTEX_PROJECT_ID']) ??
    nonEmpty(env['GOOGLE_CLOUD_PROJECT']) ??
    nonEmpty(env['GCLOUD_PROJECT']) ??
    ofFile;
  return text !== undefined && /^[a-z0-9][a-z0-9:.-]{1,62}$/.test(text) ? text : undefined;
}

function endpoint(env: CloudContext['around']['env']): { endpoint?: string } {
  const text = nonEmpty(env['ANTHROPIC_VERTEX_BASE_URL']);
  if (text === undefined) return {};
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw misconfigured(
      'The address of the Vertex AI endpoint is no plain URL.',
      'Correct ANTHROPIC_VERTEX_BASE_URL.',
    );
  }
  return { endpoint: url.href.replace(/\/+$/, '') };
}
