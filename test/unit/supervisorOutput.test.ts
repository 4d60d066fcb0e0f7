import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fc from 'fast-check';
import type { SandboxBody } from '../../src/protocol/taskEvent.ts';
import { AgentOutput, outputBodies } from '../../src/supervisor/agentOutput.ts';
import { ofType, Sandbox } from '../support/sandbox.ts';

type Output = Extract<SandboxBody, { type: 'output' }>;

function bytesOf(bodies: readonly SandboxBody[]): Buffer {
  return Buffer.concat(
    (bodies as Output[]).map(({ text, base64 }) =>
      text === undefined ? Buffer.from(base64 ?? '', 'base64') : Buffer.from(text),
    ),
  );
}

describe('supervisorOutput', () => {
  it('keeps the bytes of any line, in pieces that cut no character', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 4, max: 20 }), (bytes, size) => {
        assert.deepEqual(bytesOf(outputBodies(bytes, 'stdout', size)), Buffer.from(bytes));
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 4, max: 20 }), (text, size) => {
        const bodies = outputBodies(Buffer.from(text), 'stderr', size) as Output[];
        assert.ok(bodies.every(({ base64 }) => base64 === undefined));
        assert.equal(bodies.map((body) => body.text).join(''), text);
      }),
    );
  });

  it('reads messages however the chunks are cut', () => {
    const reader = (line: string): { bodies: SandboxBody[] } | undefined =>
      line.startsWith('{') ? { bodies: [{ type: 'text', text: line }] } : undefined;
    const lines = ['{"a":"é€😀"}', 'plain \u001b[31mred', '', '{"cut'];
    const bytes = Buffer.from(lines.join('\n'));
    for (let size = 1; size < bytes.length; size++) {
      const bodies: SandboxBody[] = [];
      const output = new AgentOutput('stdout', reader, (body) => bodies.push(body));
      for (let at = 0; at < bytes.length; at += size) output.push(bytes.subarray(at, at + size));
      output.end();
      assert.deepEqual(bodies, [
        { type: 'text', text: lines[0] },
        { type: 'output', stream: 'stdout', text: lines[1] },
        { type: 'output', stream: 'stdout', text: '' },
        { type: 'text', text: lines[3] },
      ]);
    }
  });

  describe('of a whole run', () => {
    let sandbox: Sandbox;
    beforeEach(() => (sandbox = new Sandbox()));
    afterEach(() => sandbox.dispose());

    it('keeps a line of 10 MB, bytes that are no text, escapes, and what has no newline at its end', async () => {
      const events = await sandbox.run(
        String.raw`head -c 10000000 /dev/zero | tr '\0' x; echo; printf '\377\376\n'; printf '\033[31m\033]0;title\007\n'; echo to stderr >&2; sleep 0.2; printf 'no newline'`,
      );
      const output = ofType(events, 'output').map(({ stream, text, base64 }) => ({ stream, text, base64 }));
      const stdout = output.filter(({ stream }) => stream === 'stdout');
      assert.equal(
        stdout
          .slice(0, -3)
          .map(({ text }) => text)
          .join(''),
        'x'.repeat(10_000_000),
      );
      assert.deepEqual(stdout.slice(-3), [
        { stream: 'stdout', text: undefined, base64: '//4=' },
        { stream: 'stdout', text: '\u001b[31m\u001b]0;title\u0007', base64: undefined },
        { stream: 'stdout', text: 'no newline', base64: undefined },
      ]);
      assert.deepEqual(
        output.filter(({ stream }) => stream === 'stderr'),
        [{ stream: 'stderr', text: 'to stderr', base64: undefined }],
      );
    });

    it('keeps messages of any length, and leaves one out that nests without end', async () => {
      const events = await sandbox.run(
        `node -e 'console.log(JSON.stringify({type:"text",text:"y".repeat(3e6)})); let deep = "["; for (let i = 0; i < 17; i++) deep += deep; console.log("{\\"type\\":\\"unknown\\",\\"message\\":" + deep + deep.replaceAll("[", "]") + "}")'; echo "$OK"`,
      );
      assert.equal(ofType(events, 'text')[0]?.text, 'y'.repeat(3_000_000));
      assert.match(ofType(events, 'notice')[0]?.text ?? '', /nests too deep/);
      assert.equal(ofType(events, 'ended')[0]?.outcome, 'succeeded');
    });

    it('keeps a flood of 300,000 lines in order', async function () {
      const events = await sandbox.run('seq 300000');
      const lines = ofType(events, 'output').map(({ text }) => text);
      assert.equal(lines.length, 300_000);
      assert.ok(lines.every((line, at) => line === String(at + 1)));
    });
  });

  it('waits for a reader that stalls, loses nothing, and goes on without one that left', async () => {
    const program = `
      import { EventLog } from ${JSON.stringify(new URL('../../src/supervisor/eventLog.ts', import.meta.url).pathname)};
      const log = new EventLog(1);
      let beats = 0;
      setInterval(() => ++beats === 20 && console.error('beats'), 5).unref();
      for (let i = 0; i < 50000; i++) log.emit({ type: 'output', stream: 'stdout', text: 'x'.repeat(100) });
      await log.room();
      log.emit({ type: 'notice', level: 'info', text: 'last' });
      await log.flush();
      process.exit(0);`;
    const stalled = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    // The event loop runs while nobody reads.
    for (let said = ''; !said.includes('beats\n');) {
      const [chunk] = (await once(stalled.stderr, 'data')) as [Buffer];
      said += chunk.toString();
    }
    let text = '';
    for await (const chunk of stalled.stdout) text += String(chunk);
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { s: number; text: string });
    assert.deepEqual(
      lines.map(({ s }) => s),
      Array.from({ length: 50_001 }, (_, at) => at + 1),
    );
    assert.equal(lines.at(-1)?.text, 'last');
    execFileSync(
      'bash',
      ['-c', '"$0" --input-type=module-typescript -e "$1" | true', process.execPath, program],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
  });
});
