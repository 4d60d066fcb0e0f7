/** The views of a task. */
export type Tab = 'log' | 'raw' | 'network' | 'commits' | 'diff';

/** What a page of a task keeps of how it was looked at. */
export interface Saved {
  id: string;
  tab: Tab;
  split: boolean;
}
