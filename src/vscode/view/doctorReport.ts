import { safeText } from '../../protocol/safeText.ts';
import type { DoctorCheck } from '../../runner/taskService.ts';

/** The findings of the doctor as a document, worst first named. */
export function doctorReport(checks: readonly DoctorCheck[]): string {
  const bad = checks.filter(({ ok }) => ok === false).length;
  const warnings = checks.filter(({ ok }) => ok === 'warning').length;
  const verdict =
    bad > 0
      ? `${bad} of ${checks.length} checks failed. Tasks cannot run yet.`
      : warnings > 0
        ? `Tasks can run. ${warnings} of ${checks.length} checks came with a warning.`
        : 'Everything is ready.';
  const sections = checks.map(({ name, ok, detail, mend }) => {
    const mark = ok === true ? '✓' : ok === 'warning' ? '!' : '✗';
    const advice = mend === undefined ? [] : ['', `   What to do: ${safeText(mend)}`];
    return [`${mark}  ${name}`, '', `   ${safeText(detail).replaceAll('\n', '\n   ')}`, ...advice].join('\n');
  });
  return `# Sallyport Doctor\n\n${verdict}\n\n${sections.join('\n\n')}\n`;
}
