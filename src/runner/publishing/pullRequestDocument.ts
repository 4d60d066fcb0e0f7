import { SallyportError } from '../../base/errors.ts';

/** A title and a body, as the user writes them in an editor: like a commit message. */
export interface PullRequestText {
  title: string;
  body: string;
}

/** A line that is taken out again. A body's own headings begin with one sign, or have words behind several. */
const hintStart = '<!-- Sallyport: ';
const hintEnd = ' -->';
const maxTitle = 250;
const maxBody = 60_000;

/** The document that is opened for it. Pure. */
export function pullRequestDocument({ title, body }: PullRequestText, hint: string): string {
  return `${title}\n\n${body.trim()}\n\n${hintStart}${hint.replaceAll('--', '- -')}${hintEnd}\n`;
}

/** Reads the document: the first line is the title, what follows the body. Throws `invalid_input`. Pure. */
export function readPullRequestDocument(text: string): PullRequestText {
  const lines = text
    .replace(/\r\n?/g, '\n')
    .split('\n')
    .filter((line) => !(line.startsWith(hintStart) && line.endsWith(hintEnd)));
  const first = lines.findIndex((line) => line.trim() !== '');
  const title = lines[first]?.trim().replace(/\s+/g, ' ') ?? '';
  const body = lines
    .slice(first + 1)
    .join('\n')
    .trim();
  if (first === -1 || title === '') throw wrong('It has no title.', 'Write one in the first line.');
  if (title.length > maxTitle)
    throw wrong(
      `Its title has ${title.length} characters; at most ${maxTitle} are possible.`,
      'Shorten the first line.',
    );
  if (body.length > maxBody)
    throw wrong(`Its text has ${body.length} characters; at most ${maxBody} are possible.`, 'Shorten it.');
  return { title, body };
}

function wrong(what: string, mend: string): SallyportError {
  return new SallyportError('invalid_input', `The pull request cannot be opened. ${what}`, mend);
}
