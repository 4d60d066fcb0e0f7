/**
 * The page of a task panel. It holds nothing from outside: the task's id passed its grammar, all else comes by message.
 * Scripts run by nonce only. Images are those of the extension, and bytes that the page was given. Style attributes are
 * allowed, because components use them; what an agent says never becomes markup, so it cannot use them.
 */
export function panelHtml(parts: {
  nonce: string;
  cspSource: string;
  script: string;
  style: string;
  id: string;
}): string {
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${parts.nonce}' ${parts.cspSource}`,
    `style-src ${parts.cspSource} 'unsafe-inline'`,
    `font-src ${parts.cspSource}`,
    `img-src ${parts.cspSource} blob:`,
    "form-action 'none'",
    "base-uri 'none'",
  ].join('; ');
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${parts.style}">
<title>Sallyport</title>
</head>
<body>
<sallyport-task task="${parts.id}"></sallyport-task>
<script type="module" nonce="${parts.nonce}" src="${parts.script}"></script>
</body>
</html>`;
}
