import type { Page } from 'playwright-core';

/** What the launcher (scripts/bench.mjs) gives: everything that installs or starts something. */
export interface Tools {
  root: string;
  /** Address of a Docker engine that answers. */
  engine: string;
  /** Tag of the sandbox image, which is there. */
  image: string;
  vsix: string;
  /** `quick` is for trying the bench out: few rounds, small sizes. Its numbers are written nowhere. */
  quick: boolean;
  say: (text: string) => void;
  /** Packages the extension unless the package is newer than its parts. */
  ensurePackaged: () => Promise<void>;
  /** Bundles bench/host.ts, which runs in the extension host; resolves to its path. */
  buildHost: () => Promise<string>;
  /** Runs a suite in the extension host of a fresh workbench; resolves to its exit code. */
  inExtensionHost: (options: {
    suite: string;
    env: Record<string, string>;
    limitMs: number;
    onPage: (page: Page) => void;
  }) => Promise<number>;
}

export interface Table {
  head: readonly string[];
  rows: readonly (readonly string[])[];
}

export interface Target {
  what: string;
  target: string;
  measured: string;
  met: boolean;
}

/** What one measure found, for the page. */
export interface Section {
  title: string;
  /** How it was measured. Paragraphs. */
  how: readonly string[];
  tables: readonly Table[];
  targets: readonly Target[];
}

export type Measure = (tools: Tools) => Promise<Section>;
