import assert from 'node:assert/strict';
import { adapters } from '../../src/agent/adapters.ts';
import { agentStart } from '../../src/supervisor/agentCommand.ts';
import { aSpec } from '../support/specs.ts';

const place = {
  baseUrl: 'http://127.0.0.1:1000',
  token: 'task-token',
  proxyUrl: 'http://127.0.0.1:2000',
  home: '/home/agent',
  path: '/usr/bin:/bin',
  workspace: '/workspace',
};
const environment = { RUSTUP_HOME: '/opt/rustup', HTTP_PROXY: 'http://proxy.example.com' };
const start = (change: Parameters<typeof aSpec>[0]): ReturnType<typeof agentStart> =>
  agentStart(adapters['claude-code'], aSpec(change), place, environment);

describe('how an agent is started', () => {
  it('has nothing of the container’s environment in an image of ours', () => {
    const { command, surroundings } = start({});
    assert.equal('RUSTUP_HOME' in command.env, false);
    assert.equal(surroundings['HTTP_PROXY'], place.proxyUrl);
    assert.equal(command.env['HTTP_PROXY'], place.proxyUrl);
  });

  it('has what an image of the user’s sets, below what is set for it', () => {
    const { command, surroundings } = start({ isolation: { readonlyRoot: false, image: 'example' } });
    for (const env of [command.env, surroundings]) {
      assert.equal(env['RUSTUP_HOME'], '/opt/rustup');
      assert.equal(env['HTTP_PROXY'], place.proxyUrl);
    }
  });

  it('reads a forge only where the task may, and a shell beside it never', () => {
    const withForge = start({ forge: true });
    assert.equal(withForge.command.env['SALLYPORT_FORGE_URL'], `${place.baseUrl}/forge`);
    assert.equal(withForge.command.env['SALLYPORT_TASK_TOKEN'], place.token);
    for (const env of [withForge.surroundings, start({}).command.env])
      assert.equal('SALLYPORT_FORGE_URL' in env, false);
    assert.equal(Object.values(withForge.surroundings).includes(place.token), false);
  });
});
