import type { MochaOptions, Runner, reporters } from 'mocha';

/** Writes the counts of a run to a file; see the implementation. */
declare const CountingReporter: new (runner: Runner, options: MochaOptions) => reporters.Spec;
export default CountingReporter;
