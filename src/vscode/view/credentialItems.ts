import { safeLine } from '../../protocol/safeText.ts';
import type { CredentialSource } from '../../runner/modelSources.ts';

/** A line of the list of credentials, as plain data. It never holds a value: the sources do not. */
export interface CredentialItem {
  id: string;
  group: 'model' | 'forge' | 'identity';
  label: string;
  description: string;
  detail: string;
  /** Can be chosen for tasks. */
  usable: boolean;
  canCheck: boolean;
  stored: boolean;
}

const icons: Record<CredentialSource['state'], string> = {
  ready: 'key',
  expired: 'watch',
  unusable: 'circle-slash',
};

/** @param chosen id of the source that tasks of this workspace use; undefined when none was chosen yet */
export function credentialItems(
  sources: readonly CredentialSource[],
  chosen: string | undefined,
): CredentialItem[] {
  const first = firstReady(sources)?.id;
  return sources.map((source) => {
    const { id, purpose, state, detail, mend } = source;
    const model = purpose === 'model';
    const use = !model
      ? ''
      : id === chosen
        ? 'used for this workspace'
        : chosen === undefined && id === first
          ? 'would be used'
          : '';
    const icon = model && id === chosen ? 'check' : purpose === 'identity' ? 'account' : icons[state];
    return {
      id,
      group: purpose,
      label: `$(${icon}) ${plain(source.label)}`,
      description: [
        use,
        state === 'ready' ? '' : state === 'expired' ? 'expired' : model ? 'cannot be used' : 'not set',
      ]
        .filter((part) => part !== '')
        .join(' · '),
      detail: plain([detail, state === 'ready' ? '' : (mend ?? '')].filter((part) => part !== '').join(' ')),
      usable: model && state !== 'unusable',
      canCheck: model && state !== 'unusable' && id !== 'demonstration',
      stored: id === 'stored',
    };
  });
}

/** What would be used where nothing was chosen. The demonstration comes first only where it is asked for. */
export function firstReady(sources: readonly CredentialSource[]): CredentialSource | undefined {
  const models = sources.filter(({ purpose }) => purpose === 'model');
  return models.find(({ id, state }, at) => state === 'ready' && (id !== 'demonstration' || at === 0));
}

/** Names of icons in a text are not drawn. */
function plain(text: string): string {
  return safeLine(text, 300).replaceAll('$(', '$\u2060(');
}
