import type { FileText } from '../../../src/protocol/reviewText.ts';
import type { Colours } from './colours.ts';
import { languageOf } from './languageOf.ts';
import type { TextColours } from './textColours.ts';

/** Brings the part that colours code in when there is something to colour. */
export interface ColourLoader {
  colour(path: string, text: FileText, colours: TextColours, drawn: () => void, signal: AbortSignal): void;
  themeChanged(): void;
  dispose(): void;
}

export function loadColours(): ColourLoader {
  let loading: Promise<Colours | undefined> | undefined;
  let loaded: Colours | undefined;
  return {
    colour: (path, text, colours, drawn, signal) => {
      const language = languageOf(path);
      if (language === undefined) return;
      // Code without colours is code, too.
      loading ??= import('./colours.ts').then(
        ({ Colours }) => (loaded = new Colours(isLight())),
        () => undefined,
      );
      void loading.then((made) => made?.colour(language, text, colours, drawn, signal));
    },
    themeChanged: () => loaded?.setLight(isLight()),
    dispose: () => {
      loading = undefined;
      loaded?.dispose();
    },
  };
}

function isLight(): boolean {
  const { classList } = document.body;
  return classList.contains('vscode-light') || classList.contains('vscode-high-contrast-light');
}
