import { homedir } from 'node:os';
import type { Logger } from '../base/logger.ts';
import { createModelSources } from '../runner/modelSources.ts';
import { engineCertificates } from './operation/engineCertificates.ts';
import { readConfig } from './operation/readConfig.ts';
import { reportText, startReport } from './operation/report.ts';
import { startServer, type RunningServer } from './startServer.ts';

// The command line has everything of the server from here, as one bundle.
export { backUp, restore } from './operation/backup.ts';
export { resetPassword } from './operation/resetPassword.ts';

export interface ServeOptions {
  env: Readonly<Record<string, string | undefined>>;
  distFolder: string;
  containerFolder: string;
  version: string;
  log: Logger;
  /** The start-up report, and the link for the set-up. */
  print: (text: string) => void;
}

/** Starts the server as its environment says, and reports what is configured. Throws `server_misconfigured`. */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const { env, log, print, version } = options;
  const config = readConfig(env, options);
  Object.assign(process.env, await engineCertificates(config));
  const sources = createModelSources({
    env,
    homeFolder: env['HOME'] ?? homedir(),
    stored: () => Promise.resolve(undefined),
    settings: () => ({ modelSource: 'auto' }),
  });
  const choose = () => sources.choose(config.demonstration ? 'demonstration' : undefined);
  const server = await startServer({ config, version, log, credentials: choose, modelSources: sources });
  const { context } = server;
  const [engine, credential] = await Promise.all([
    server.engine().catch(() => undefined),
    choose().then(
      ({ label }) => label,
      () => undefined,
    ),
  ]);
  const lines = startReport(config, {
    url: server.url,
    engine,
    credential,
    tasks: context.tasks.counts().all,
    users: server.users(),
    isRoot: process.getuid?.() === 0,
  });
  print(`Sallyport runner ${version}\n${reportText(lines)}`);
  const link = context.auth.setUpLink();
  if (link !== undefined) {
    print(`\nThere is no administrator yet. Open this link once, and nobody else can:\n  ${link}\n\n`);
  }
  print(`The runner is ready: ${config.publicUrl}\n`);
  return server;
}
