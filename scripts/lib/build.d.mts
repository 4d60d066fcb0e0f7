/** Builds the bundles when a source is newer than they are. */
export function ensureBuilt(): Promise<void>;
