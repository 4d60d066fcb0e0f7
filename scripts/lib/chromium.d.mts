/** Path of a Chromium; installs it where it is missing and can be. */
export function ensureChromium(): Promise<string>;
/** What every start of it gets. */
export const chromiumArguments: readonly string[];
