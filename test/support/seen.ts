import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';

/**
 * Everything that a user can see of a folder: kind, mode and content of every entry, without times. Of git's folder all but the
 * objects and what records what was done.
 */
export function seen(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (path: Buffer, name: string): void => {
    if (/^\/\.git\/(?:objects|logs)(?:\/|$)/.test(name)) return;
    const info = lstatSync(path);
    const content = info.isFile()
      ? createHash('sha256').update(readFileSync(path)).digest('hex')
      : info.isSymbolicLink()
        ? readlinkSync(path, { encoding: 'latin1' })
        : '';
    found[name] = `${info.mode.toString(8)} ${content}`;
    if (!info.isDirectory()) return;
    for (const entry of readdirSync(path, { encoding: 'buffer' }))
      visit(Buffer.concat([path, Buffer.from('/'), entry]), `${name}/${entry.toString('latin1')}`);
  };
  visit(Buffer.from(root), '');
  return found;
}
