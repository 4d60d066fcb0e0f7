import type { PanelMessage, PanelRequest } from '../../src/protocol/panelMessages.ts';

/** Whatever shows a page: VS Code, or later a browser. */
export interface Host<Saved> {
  send(request: PanelRequest): void;
  onMessage(listener: (message: PanelMessage) => void): void;
  /** What was saved when the page was last shown; not trusted to have any shape. */
  saved(): unknown;
  save(state: Saved): void;
}

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
    send: (request) => api.postMessage(request),
    onMessage: (listener) => {
      window.addEventListener('message', (event: MessageEvent<PanelMessage>) => listener(event.data));
    },
    saved: () => api.getState(),
    save: (state) => api.setState(state),
  };
}
