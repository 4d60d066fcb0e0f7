import { runnerSuite } from '../support/runnerSuite.ts';
import { Bench } from '../support/tasks.ts';

runnerSuite({ title: 'docker', engine: 'docker', Kind: Bench, remote: false });
