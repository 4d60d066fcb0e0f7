import assert from 'node:assert/strict';
import fc from 'fast-check';
import { safeLine, safeText, showHidden, stripEscapes } from '../../src/protocol/safeText.ts';
import { ansiSpans } from '../../webview/shared/ansi.ts';

describe('text from a sandbox', () => {
  it('loses its escape sequences', () => {
    assert.equal(stripEscapes('a\x1b[31mred\x1b[0m b'), 'ared b');
    assert.equal(stripEscapes('\x1b]0;title\x07text'), 'text');
    assert.equal(stripEscapes('\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\'), 'link');
    assert.equal(stripEscapes('\x1bP1$r0m\x1b\\x\x1bcy\x9b2Jz'), 'xyz');
    assert.equal(stripEscapes('one\r\ntwo'), 'one\ntwo');
  });

  it('shows what cannot be seen', () => {
    assert.equal(showHidden('a\u202eb\u2066c\u200bd'), 'a‹U+202E›b‹U+2066›c‹U+200B›d');
    assert.equal(showHidden('\x00\x07\x08\x7f'), '␀␇␈␡');
    assert.equal(showHidden('tab\tand\nnewline, ünï, 漢字, 🙂'), 'tab\tand\nnewline, ünï, 漢字, 🙂');
    assert.equal(safeText('a\rb'), 'a␍b');
  });

  it('holds no control or bidi character afterwards, whatever it was', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '\x1b',
        '\x1b[',
        '\x1b]',
        '\x9b',
        '\x07',
        'm',
        '\u202e',
        '\u2067',
        '31',
        ';',
        '\r',
        '\n',
      ),
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const text = pieces.join('');
        for (const shown of [safeText(text), ...ansiSpans(text).map((span) => span.text)]) {
          assert.doesNotMatch(shown, /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b]/);
        }
      }),
    );
  });

  it('fits one line when it has to', () => {
    assert.equal(safeLine('  a\n\tb\x1b[2J  c '), 'a b c');
    const long = safeLine('🙂'.repeat(500), 10);
    assert.equal(Array.from(long).length, 10);
    assert.ok(long.endsWith('…'));
  });

  it('takes little time for a long run of open escapes', () => {
    const text = '\x1b]'.repeat(100_000);
    assert.equal(stripEscapes(text), '');
  });
});

describe('colours of a terminal', () => {
  it('become classes', () => {
    assert.deepEqual(ansiSpans('\x1b[1;31mbad\x1b[0m good'), [
      { text: 'bad', classes: 'ansi-bold ansi-fg-1' },
      { text: ' good', classes: '' },
    ]);
    assert.deepEqual(ansiSpans('\x1b[97;41mx\x1b[39;49my'), [
      { text: 'x', classes: 'ansi-fg-15 ansi-bg-1' },
      { text: 'y', classes: '' },
    ]);
  });

  it('of 256 and of true colour become numbers, never text of the sandbox', () => {
    const [palette, truth] = ansiSpans('\x1b[38;5;208ma\x1b[48;2;1;2;3mb');
    assert.equal(palette?.color, 'rgb(255 135 0)');
    assert.equal(truth?.background, 'rgb(1 2 3)');
    assert.equal(ansiSpans('\x1b[38;2;1;2;999mz')[0]?.color, undefined);
  });

  it('leave no other escape behind', () => {
    const text = ansiSpans('\x1b[31ma\x1b[2Jb\x1b]8;;http://x\x07c\x1b[0m').map((span) => span.text);
    assert.equal(text.join(''), 'abc');
  });
});
