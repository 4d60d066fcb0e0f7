// The browser of the tests.
import { existsSync } from 'node:fs';
import { ensurePackages } from './engine.mjs';
import { Refusal, say } from './say.mjs';

const places = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** The path of a Chromium; on Debian its package is installed when there is none. */
export async function ensureChromium() {
  const named = process.env.SALLYPORT_CHROMIUM;
  const found = [named, ...places].find((path) => path !== undefined && existsSync(path));
  if (found !== undefined) return found;
  if (!existsSync('/etc/debian_version')) {
    throw new Refusal(
      'No Chromium was found.',
      'Install Chromium or Google Chrome, or name it in SALLYPORT_CHROMIUM.',
    );
  }
  await ensurePackages(['chromium'], { why: 'The tests look at VS Code in a real browser', log: say });
  return '/usr/bin/chromium';
}

/** Quiet, and without what a container does not have. */
export const chromiumArguments = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
