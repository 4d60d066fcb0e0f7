/** The views of a task. */
export type Tab = 'log' | 'raw' | 'network' | 'commits' | 'review';

/** What a page of a task keeps of how it was looked at. */
export interface Saved {
  id: string;
  tab: Tab;
  /** The review stands side by side. */
  split: boolean;
  /** What was typed to the agent and not sent. */
  draft?: string;
}
