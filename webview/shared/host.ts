import type { PanelMessage, PanelRequest } from '../../src/protocol/panelMessages.ts';

/** What can be done where the page is shown, and by whoever looks at it. */
export interface Capabilities {
  /** The task can be steered: stopped, removed, answered. */
  steer: boolean;
  /** The page has the buttons for the whole task; otherwise whatever is around it has them. */
  buttons: boolean;
  /** Commits can be taken over into a repository of the user's. */
  accept: boolean;
  /** Parts can be accepted, rejected and commented on; otherwise the review is there to be read. */
  review: boolean;
  /** A new task can go on from the end of a turn. */
  continue: boolean;
  /** An editor opens diffs and long texts. */
  editor: boolean;
  /** Credentials, the log and the doctor are at hand. */
  machine: boolean;
  /** What tasks have in common that keep a rule of the network for good. */
  place: 'Workspace' | 'Repository';
}

/** Whatever shows a page: VS Code, or a browser. */
export interface Host<Saved> {
  can: Capabilities;
  send(request: PanelRequest): void;
  onMessage(listener: (message: PanelMessage) => void): void;
  /** What was saved when the page was last shown; not trusted to have any shape. */
  saved(): unknown;
  save(state: Saved): void;
}
