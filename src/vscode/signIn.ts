import { hostname } from 'node:os';
import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';
import {
  consentPage,
  type Handshake,
  newHandshake,
  programName,
  readReturn,
  returnPath,
} from './view/handshake.ts';

/** How long a sign-in waits for the browser, in milliseconds. */
const limitMs = 10 * 60_000;

/** Waits for the browser to come back with the code of a sign-in that this window began. */
export class SignIn implements vscode.Disposable {
  private readonly extension: string;
  private readonly log: vscode.LogOutputChannel;
  private readonly waiting = new Map<string, (code: string) => void>();

  /** @param extension id of this extension, the host of its links */
  constructor(extension: string, log: vscode.LogOutputChannel) {
    this.extension = extension;
    this.log = log;
  }

  /** Any page can open such a link: one that nobody waits for is only written down. */
  handleUri(uri: vscode.Uri): void {
    const back = readReturn(uri.path, uri.query);
    const go = back === undefined ? undefined : this.waiting.get(back.state);
    if (back === undefined || go === undefined) {
      this.log.warn('A link came back from a browser that no sign-in of this window waits for.');
      return;
    }
    this.waiting.delete(back.state);
    go(back.code);
  }

  /**
   * Opens the runner's page and waits for the code. Undefined when the user leaves; throws `unauthorized` after ten minutes.
   * @param open opens an address in the user's browser
   */
  async run(
    runner: URL,
    open: (address: string) => Thenable<boolean> = openAsItIs,
  ): Promise<{ code: string; handshake: Handshake } | undefined> {
    const handshake = newHandshake();
    const own = vscode.Uri.from({
      scheme: vscode.env.uriScheme,
      authority: this.extension,
      path: returnPath,
    });
    // In a browser, or in a container, the way back is another.
    const callback = (await vscode.env.asExternalUri(own)).toString(true);
    const page = consentPage(runner, callback, handshake, programName(vscode.env.appName, hostname()));
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    this.waiting.set(handshake.state, resolve);
    const late = setTimeout(() => reject(tooLate()), limitMs);
    const copy = 'Copy Link';
    try {
      if (!(await open(page))) {
        void vscode.window
          .showInformationMessage('No browser was opened. Open the link of the sign-in yourself.', copy)
          .then((picked) => (picked === copy ? vscode.env.clipboard.writeText(page) : undefined));
      }
      const code = await vscode.window.withProgress(
        {
          location: vscode.ProgressLocation.Notification,
          title: `Sallyport: let this editor in, on the page of ${runner.host} in the browser…`,
          cancellable: true,
        },
        (_progress, token) => {
          token.onCancellationRequested(() => resolve(undefined));
          return promise;
        },
      );
      return code === undefined ? undefined : { code, handshake };
    } finally {
      clearTimeout(late);
      this.waiting.delete(handshake.state);
    }
  }

  dispose(): void {
    this.waiting.clear();
  }
}

/**
 * A Uri is decoded and encoded anew on its way to the browser, and an address within an address is another one then. The
 * editor takes a text too, although its types do not say so, and leaves it as it is.
 */
const openAsItIs = (address: string): Thenable<boolean> =>
  vscode.env.openExternal(address as unknown as vscode.Uri);

function tooLate(): SallyportError {
  return new SallyportError(
    'unauthorized',
    'The browser did not come back within ten minutes.',
    'Sign in again, or paste a token that you made in the dashboard of the runner.',
  );
}
