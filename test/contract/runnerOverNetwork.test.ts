import { RemoteBench } from '../support/remoteBench.ts';
import { runnerSuite } from '../support/runnerSuite.ts';

runnerSuite({
  title: 'a server with docker, from remote',
  engine: 'docker',
  Kind: RemoteBench,
  remote: true,
});
