import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';

export interface StsCall {
  action: string;
  parameters: URLSearchParams;
  /** Access key id of the signature; undefined for an unsigned call. */
  signedBy: string | undefined;
  sessionToken: string | undefined;
}

type Answer = { error: string; message: string; status?: number } | undefined;

/**
 * AWS STS as far as temporary credentials need it: checks that calls are signed by a key that it knows, that roles
 * exist, how long they may live, and that a role taken on from a role lives one hour at most.
 */
export class StsFake {
  readonly calls: StsCall[] = [];
  /** Access key ids, with whether they are those of a role. */
  readonly keys = new Map<string, { role: boolean }>();
  readonly roles = new Map<string, { maxSeconds: number; externalId?: string; mfaCode?: string }>();
  /** Comes before everything else. */
  answer: (call: StsCall) => Answer = () => undefined;
  private readonly server: Server;
  private count = 0;

  private constructor(server: Server) {
    this.server = server;
  }

  static async start(): Promise<StsFake> {
    const server = createServer((request, response) => {
      void fake.respond(request).then(({ status, body }) => {
        response.writeHead(status, { 'content-type': 'text/xml' }).end(body);
      });
    });
    const fake = new StsFake(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return fake;
  }

  get url(): string {
    const address = this.server.address();
    return typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : '';
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async respond(request: IncomingMessage): Promise<{ status: number; body: string }> {
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const parameters = new URLSearchParams(Buffer.concat(parts).toString());
    const action = parameters.get('Action') ?? '';
    const authorization = request.headers.authorization ?? '';
    const signedBy =
      /^AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)\/\d{8}\/[a-z0-9-]+\/sts\/aws4_request, SignedHeaders=[^,]*host[^,]*, Signature=[0-9a-f]{64}$/.exec(
        authorization,
      )?.[1];
    const token = request.headers['x-amz-security-token'];
    const call = {
      action,
      parameters,
      signedBy,
      sessionToken: typeof token === 'string' ? token : undefined,
    };
    this.calls.push(call);
    const problem = this.answer(call) ?? this.check(call);
    if (problem !== undefined) {
      const { error, message, status = 400 } = problem;
      return {
        status,
        body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${error}</Code><Message>${message}</Message></Error><RequestId>1</RequestId></ErrorResponse>`,
      };
    }
    const inner =
      action === 'GetCallerIdentity'
        ? '<Arn>arn:aws:sts::123456789012:assumed-role/agent/x</Arn><Account>123456789012</Account><UserId>X</UserId>'
        : this.credentials(call);
    return {
      status: 200,
      body: `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>${inner}</${action}Result></${action}Response>`,
    };
  }

  private check({ action, parameters, signedBy, sessionToken }: StsCall): Answer {
    if (action === 'AssumeRoleWithWebIdentity') return undefined;
    const key = this.keys.get(signedBy ?? '');
    if (signedBy === undefined || key === undefined)
      return {
        error: 'InvalidClientTokenId',
        message: 'The security token included in the request is invalid.',
        status: 403,
      };
    if (signedBy.startsWith('ASIA') !== (sessionToken !== undefined))
      return { error: 'InvalidClientTokenId', message: 'The token does not go with the key.', status: 403 };
    if (action === 'GetCallerIdentity') return undefined;
    if (action !== 'AssumeRole' && sessionToken !== undefined)
      return {
        error: 'AccessDenied',
        message: `Cannot call ${action} with session credentials`,
        status: 403,
      };
    const seconds = Number(parameters.get('DurationSeconds'));
    if (!(seconds >= 900))
      return { error: 'ValidationError', message: 'DurationSeconds must be at least 900' };
    if (action !== 'AssumeRole') return undefined;
    const role = this.roles.get(parameters.get('RoleArn') ?? '');
    if (role === undefined || role.externalId !== (parameters.get('ExternalId') ?? undefined))
      return {
        error: 'AccessDenied',
        message: 'User is not authorized to perform: sts:AssumeRole',
        status: 403,
      };
    if (role.mfaCode !== (parameters.get('TokenCode') ?? undefined))
      return {
        error: 'AccessDenied',
        message: 'MultiFactorAuthentication failed with invalid MFA one time pass code.',
        status: 403,
      };
    if (key.role && seconds > 3600)
      return {
        error: 'ValidationError',
        message:
          'The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining',
      };
    if (seconds > role.maxSeconds)
      return {
        error: 'ValidationError',
        message: 'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.',
      };
    return undefined;
  }

  private credentials({ action, parameters }: StsCall): string {
    const id = `ASIA${String(++this.count).padStart(16, '0')}`;
    this.keys.set(id, { role: action.startsWith('AssumeRole') });
    const expires = new Date(Date.now() + Number(parameters.get('DurationSeconds') ?? 3600) * 1000);
    return `<Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>temporary-secret-${this.count}</SecretAccessKey><SessionToken>temporary-token-${this.count}</SessionToken><Expiration>${expires.toISOString()}</Expiration></Credentials>`;
  }
}
