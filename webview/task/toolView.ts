import { safeLine } from '../../src/protocol/safeText.ts';

/** How a tool of the agent is shown: one line, and a body when it is opened. */
export interface ToolView {
  summary: string;
  /** Lines of an edit begin with `-` and `+`. */
  body: { kind: 'text' | 'edit'; text: string };
}

/** From what the agent hands to a tool. The shapes are the agent's own and can be anything. */
export function toolView(name: string, input: unknown): ToolView {
  const field = (key: string): string | undefined => {
    if (typeof input !== 'object' || input === null) return undefined;
    const value: unknown = (input as Record<string, unknown>)[key];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const json = (): ToolView => ({
    summary: safeLine(inline(input), 200),
    body: { kind: 'text', text: stringify(input, 2) },
  });
  const text = (summary: string, body: string): ToolView => ({
    summary: safeLine(summary, 200),
    body: { kind: 'text', text: body },
  });
  const path = field('file_path') ?? field('notebook_path') ?? field('path');
  switch (name) {
    case 'Bash': {
      const command = field('command');
      return command === undefined ? json() : text(command, command);
    }
    case 'Edit': {
      if (path === undefined) return json();
      const sides = [...signed('-', field('old_string') ?? ''), ...signed('+', field('new_string') ?? '')];
      return { summary: safeLine(shortPath(path), 200), body: { kind: 'edit', text: sides.join('\n') } };
    }
    case 'Write':
      if (path === undefined) return json();
      return {
        summary: safeLine(shortPath(path), 200),
        body: { kind: 'edit', text: signed('+', field('content') ?? '').join('\n') },
      };
    case 'Read':
    case 'MultiEdit':
    case 'NotebookEdit':
    case 'LS':
      return path === undefined ? json() : { ...json(), summary: safeLine(shortPath(path), 200) };
    case 'Glob':
    case 'Grep': {
      const pattern = field('pattern');
      if (pattern === undefined) return json();
      return {
        ...json(),
        summary: safeLine(path === undefined ? pattern : `${pattern} in ${shortPath(path)}`, 200),
      };
    }
    case 'Task':
    case 'WebSearch':
    case 'WebFetch':
    case 'Skill': {
      const summary = field('description') ?? field('query') ?? field('url') ?? field('skill');
      return summary === undefined ? json() : { ...json(), summary: safeLine(summary, 200) };
    }
    default:
      return json();
  }
}

/** Paths in the workspace are shown from its root. */
export function shortPath(path: string): string {
  return path.startsWith('/workspace/') ? path.slice('/workspace/'.length) : path;
}

function signed(sign: string, text: string): string[] {
  return text === ''
    ? []
    : text
        .replace(/\n$/, '')
        .split('\n')
        .map((line) => `${sign} ${line}`);
}

function inline(input: unknown): string {
  const text = stringify(input);
  return text === '{}' ? '' : text;
}

/** Of nothing JSON makes nothing, whatever its type says. */
function stringify(input: unknown, indent?: number): string {
  return input === undefined ? '' : JSON.stringify(input, undefined, indent);
}
