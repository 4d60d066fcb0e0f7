import { homedir } from 'node:os';
import * as vscode from 'vscode';
import type { ChosenSource, CredentialSource, ModelSettings, ModelSources } from '../runner/modelSources.ts';
import type { ResolvedModel } from '../runner/taskService.ts';
import type { CredentialStore } from './secrets.ts';
import { readSettings, type Settings } from './settings.ts';

/** Where the model's answers come from; what finds it is loaded when it is first asked. */
export class Models {
  private readonly make: () => Promise<ModelSources>;
  private sources: Promise<ModelSources> | undefined;

  constructor(make: () => Promise<ModelSources>) {
    this.make = make;
  }

  async list(): Promise<CredentialSource[]> {
    return await (await this.get()).list();
  }

  /** @param wanted what was chosen for a workspace; a choice in the settings comes before it */
  async choose(wanted: string | undefined, signal?: AbortSignal): Promise<ChosenSource> {
    const { modelSource, credentialSource } = readSettings();
    const named = credentialSource === '' ? wanted : credentialSource;
    return await (await this.get()).choose(modelSource === 'demonstration' ? undefined : named, signal);
  }

  async check(
    model: ResolvedModel,
    options: { deep?: boolean; model?: string; signal?: AbortSignal },
  ): Promise<void> {
    await (await this.get()).check(model, options);
  }

  /** True when the settings leave nothing to ask. */
  isSettled(chosen: ChosenSource): boolean {
    const { credentialSource } = readSettings();
    return chosen.demonstration || (credentialSource !== '' && credentialSource === chosen.sourceId);
  }

  private get(): Promise<ModelSources> {
    this.sources ??= this.make().catch((thrown: unknown) => {
      this.sources = undefined;
      throw thrown;
    });
    return this.sources;
  }
}

/** Finds credentials on this machine, with what the user set. */
export async function localSources(store: CredentialStore): Promise<ModelSources> {
  const { createModelSources } = await import('../runner/localTasks.ts');
  return createModelSources({
    env: environment(),
    homeFolder: homedir(),
    stored: () => store.get(),
    settings: () => modelSettings(readSettings()),
    askMfaCode,
  });
}

/** The environment, with what the settings say about the network before its own, as it is whenever it is asked. */
function environment(): Readonly<Record<string, string | undefined>> {
  const first = (set: () => string, name: string): PropertyDescriptor => ({
    enumerable: true,
    get: () => set() || process.env[name],
  });
  const proxy = (): string => readSettings().policy.proxy;
  return Object.defineProperties(
    { ...process.env },
    {
      https_proxy: first(proxy, 'https_proxy'),
      http_proxy: first(proxy, 'http_proxy'),
      NODE_EXTRA_CA_CERTS: first(() => readSettings().policy.extraCa, 'NODE_EXTRA_CA_CERTS'),
    },
  );
}

function modelSettings(settings: Settings): ModelSettings {
  const { bedrock, vertex, modelSource, credentialSource } = settings;
  const explicit = modelSource === 'demonstration' ? '' : credentialSource;
  const given = <K extends string>(key: K, value: string): { [P in K]?: string } =>
    (value === '' ? {} : { [key]: value }) as { [P in K]?: string };
  return {
    modelSource: explicit === '' ? modelSource : explicit,
    sessionSeconds: bedrock.sessionSeconds,
    ...given('awsProfile', bedrock.profile),
    ...given('awsRegion', bedrock.region),
    ...given('bedrockModel', bedrock.model),
    ...given('roleArn', bedrock.roleArn),
    ...given('sessionPolicy', bedrock.sessionPolicy),
    ...given('vertexProject', vertex.project),
    ...given('vertexRegion', vertex.region),
  };
}

async function askMfaCode(serial: string): Promise<string | undefined> {
  const code = await vscode.window.showInputBox({
    title: 'AWS: Code of the MFA Device',
    prompt: `Six digits from ${serial}.`,
    ignoreFocusOut: true,
    validateInput: (text) => (/^\d{0,6}$/.test(text.trim()) ? undefined : 'Six digits.'),
  });
  const clean = code?.trim();
  return clean === '' ? undefined : clean;
}
