import { runnerSuite } from '../support/runnerSuite.ts';
import { Bench } from '../support/tasks.ts';

runnerSuite({ title: 'podman', engine: 'podman', Kind: Bench, remote: false });
