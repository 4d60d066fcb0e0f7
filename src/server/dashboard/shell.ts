import type { Assets } from './assets.ts';

/** The one page of the dashboard; it is the same for everybody, and holds nothing of anybody's. */
export function shellOf(assets: Assets): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="dark light">
<meta name="theme-color" content="#1b1f26" media="(prefers-color-scheme: dark)">
<meta name="theme-color" content="#f4f6f8" media="(prefers-color-scheme: light)">
<title>Sallyport</title>
<link rel="icon" href="${assets.address('icon.svg')}" type="image/svg+xml">
<link rel="apple-touch-icon" href="${assets.address('icon-256.png')}">
<link rel="manifest" href="/manifest.webmanifest">
<link rel="stylesheet" href="${assets.address('dashboard.css')}">
<script type="module" src="${assets.address('dashboard.js')}"></script>
</head>
<body>
<sallyport-dashboard></sallyport-dashboard>
<noscript>The dashboard needs JavaScript. Everything that it does can also be done with the API and its command line.</noscript>
</body>
</html>
`;
}

/**
 * What the page may do. Scripts and styles are files of this server only, markup is made by no script but through a
 * policy of a known name, and nothing is asked of any other host.
 * @param host as the browser called this server; it has been checked
 */
export function contentPolicy(host: string, secure: boolean): string {
  // Not every browser counts a WebSocket to its own host as 'self'.
  const socket = /^[a-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-f:.]+\](:\d{1,5})?$/i.test(host)
    ? ` ${secure ? 'wss' : 'ws'}://${host}`
    : '';
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    `connect-src 'self'${socket}`,
    "manifest-src 'self'",
    "worker-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "require-trusted-types-for 'script'",
    'trusted-types lit-html sallyport',
  ].join('; ');
}
