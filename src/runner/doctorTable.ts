import { safeLine } from '../protocol/safeText.ts';
import type { DoctorCheck } from './taskService.ts';

/** The findings of the doctor for a terminal; with colours only where it is one that shows them. */
export function doctorTable(checks: readonly DoctorCheck[], colours: boolean): string {
  const paint = (code: number, text: string): string => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
  const width = Math.max(0, ...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, ok, detail, mend }) => {
    const mark = ok === true ? paint(32, 'ok  ') : ok === false ? paint(31, 'FAIL') : paint(33, 'warn');
    const [first = '', ...rest] = detail.split('\n').map((line) => safeLine(line, 1000));
    const indent = ' '.repeat(width + 8);
    return [
      `${mark}  ${safeLine(name).padEnd(width)}  ${first}`,
      ...rest.map((line) => `${indent}${line}`),
      ...(mend === undefined ? [] : [`${indent}→ ${safeLine(mend, 1000)}`]),
    ];
  });
  const broken = checks.filter(({ ok }) => ok === false).length;
  const verdict = broken === 0 ? 'Tasks can run here.' : 'Tasks cannot run here yet.';
  return `${lines.join('\n')}\n\n${paint(1, verdict)}\n`;
}
