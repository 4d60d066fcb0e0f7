interface ScriptUrls {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): {
    createScriptURL(url: string): string;
  };
}

/** The shell comes from the browser's own store when the server cannot be reached. Not where the page came without TLS. */
export function registerWorker(): void {
  if (!('serviceWorker' in navigator)) return;
  const path = '/service-worker.js';
  const { trustedTypes } = globalThis as { trustedTypes?: ScriptUrls };
  const policy = trustedTypes?.createPolicy('sallyport', {
    createScriptURL: (url) => {
      if (url !== path) throw new TypeError('No other script is a worker here.');
      return url;
    },
  });
  const url = policy?.createScriptURL(path) ?? path;
  window.addEventListener('load', () => {
    navigator.serviceWorker.register(url, { scope: '/' }).catch(() => undefined);
  });
}
