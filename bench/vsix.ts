import { readFileSync } from 'node:fs';
import type { Section, Tools } from './lib/measure.ts';
import { mega, thousands } from './lib/numbers.ts';

const limit = 2_000_000;
const shown = 12;

/** The size of the package, and of what is in it. */
export async function vsix(tools: Tools): Promise<Section> {
  await tools.ensurePackaged();
  const archive = readFileSync(tools.vsix);
  const files = listZip(archive).sort((a, b) => b.packed - a.packed);
  const rest = files.slice(shown);
  const row = (name: string, packed: number, size: number): string[] => [
    name,
    thousands(packed),
    thousands(size),
    `${((100 * packed) / archive.length).toFixed(1)} %`,
  ];
  return {
    title: 'Size of the extension',
    how: [
      'The VSIX as `npm run package` makes it. The task panel loads the parts of the diff view and each language only when they are used.',
    ],
    tables: [
      {
        head: ['Part', 'bytes packed', 'bytes', 'of the package'],
        rows: [
          ...files.slice(0, shown).map(({ name, packed, size }) => row(`\`${name}\``, packed, size)),
          row(
            `${rest.length} more`,
            rest.reduce((sum, { packed }) => sum + packed, 0),
            rest.reduce((sum, { size }) => sum + size, 0),
          ),
        ],
      },
    ],
    targets: [
      {
        what: 'Size of the VSIX',
        target: '< 2 MB',
        measured: `${mega(archive.length)} MB (${thousands(archive.length)} bytes)`,
        met: archive.length < limit,
      },
    ],
  };
}

/** The entries of a ZIP archive without ZIP64, from its central directory (APPNOTE 4.3.12 and 4.3.16). */
function listZip(archive: Buffer): { name: string; packed: number; size: number }[] {
  const end = archive.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end === -1) throw new Error('The package is no ZIP archive');
  const count = archive.readUInt16LE(end + 10);
  const entries = [];
  let at = archive.readUInt32LE(end + 16);
  for (let i = 0; i < count; i++) {
    const nameLength = archive.readUInt16LE(at + 28);
    entries.push({
      name: archive.toString('utf8', at + 46, at + 46 + nameLength),
      packed: archive.readUInt32LE(at + 20),
      size: archive.readUInt32LE(at + 24),
    });
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  return entries;
}
