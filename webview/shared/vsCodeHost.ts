import type { PanelMessage } from '../../src/protocol/panelMessages.ts';
import type { Host } from './host.ts';

interface VsCodeApi {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}

declare function acquireVsCodeApi(): VsCodeApi;

/** VS Code hands out its API once; so call this once. */
export function vsCodeHost<Saved>(): Host<Saved> {
  const api = acquireVsCodeApi();
  return {
    can: {
      steer: true,
      buttons: true,
      accept: true,
      review: true,
      continue: true,
      editor: true,
      machine: true,
      place: 'Workspace',
    },
    send: (request) => api.postMessage(request),
    onMessage: (listener) => {
      window.addEventListener('message', (event: MessageEvent<PanelMessage>) => listener(event.data));
    },
    saved: () => api.getState(),
    save: (state) => api.setState(state),
  };
}
