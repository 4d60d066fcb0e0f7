import assert from 'node:assert/strict';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { connectEngine } from '../../src/engine/connect.ts';
import { engineCertificates } from '../../src/server/operation/engineCertificates.ts';
import { readConfig } from '../../src/server/operation/readConfig.ts';
import { certificateFor } from '../support/certificate.ts';
import { temporaryFolder } from '../support/gitRepo.ts';

const around = { distFolder: '/dist', containerFolder: '/container' };

describe('an engine at another machine', () => {
  it('is reached with certificates that came as variables, in lines or as base64, and not without them', async () => {
    const { key, cert } = certificateFor('localhost');
    const clients: boolean[] = [];
    const engine = createServer(
      { key, cert, ca: cert, requestCert: true, rejectUnauthorized: true },
      (request, response) => {
        clients.push(request.socket instanceof TLSSocket && request.socket.authorized);
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ Version: '1.0', ApiVersion: '1.10', Os: 'linux', Arch: 'amd64' }));
      },
    );
    engine.listen(0, '127.0.0.1');
    await once(engine, 'listening');
    const folder = temporaryFolder();
    try {
      const setting = `tcp://localhost:${(engine.address() as AddressInfo).port}`;
      const env = {
        SALLYPORT_HOME: join(folder.path, 'data'),
        SALLYPORT_ENGINE: setting,
        SALLYPORT_ENGINE_CA: cert,
        SALLYPORT_ENGINE_CERT: Buffer.from(cert).toString('base64'),
        SALLYPORT_ENGINE_KEY: Buffer.from(key).toString('base64'),
      };
      const made = await engineCertificates(readConfig(env, around));
      assert.equal(statSync(join(made['DOCKER_CERT_PATH'] ?? '', 'key.pem')).mode & 0o777, 0o600);
      // It answers, and is too old: so it was asked, by somebody whom it knows.
      await assert.rejects(connectEngine({ setting, env: made }), { code: 'engine_unsupported' });
      assert.deepEqual(clients, [true]);
      await assert.rejects(connectEngine({ setting, env: {} }));
      assert.equal(clients.length, 1);
      for (const name of ['CA', 'CERT', 'KEY'])
        assert.throws(
          () => readConfig({ ...env, [`SALLYPORT_ENGINE_${name}`]: '' }, around),
          /belong together/,
        );
      assert.throws(
        () => readConfig({ ...env, SALLYPORT_ENGINE_KEY: 'none' }, around),
        /neither PEM nor base64/,
      );
      assert.deepEqual(await engineCertificates({ dataFolder: folder.path }), {});
    } finally {
      engine.close();
      engine.closeAllConnections();
      folder.dispose();
    }
  });
});
