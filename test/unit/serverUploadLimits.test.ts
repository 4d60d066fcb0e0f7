import assert from 'node:assert/strict';
import { asSallyportError } from '../../src/base/errors.ts';
import { checkBundle, checkDisk } from '../../src/server/tasks/uploadLimits.ts';

const mebi = 1 << 20;
const limits = { bytes: 4 * mebi, bytesOfUser: 6 * mebi, open: 3 };

function refusal(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (thrown) {
    return asSallyportError(thrown).code;
  }
}

describe('what may be uploaded', () => {
  it('is a bundle of up to so many bytes, and none without any', () => {
    assert.equal(
      refusal(() => checkBundle(1, [], limits)),
      undefined,
    );
    assert.equal(
      refusal(() => checkBundle(limits.bytes, [], limits)),
      undefined,
    );
    assert.equal(
      refusal(() => checkBundle(limits.bytes + 1, [], limits)),
      'too_large',
    );
    assert.equal(
      refusal(() => checkBundle(0, [], limits)),
      'invalid_input',
    );
  });

  it('is so much, and so many, of one user', () => {
    const begun = (count: number, bytes: number): { bytes: number }[] =>
      Array.from({ length: count }, () => ({ bytes }));
    assert.equal(
      refusal(() => checkBundle(4 * mebi, begun(2, mebi), limits)),
      undefined,
    );
    assert.equal(
      refusal(() => checkBundle(4 * mebi, begun(2, mebi + 1), limits)),
      'too_many_requests',
    );
    assert.equal(
      refusal(() => checkBundle(1, begun(3, 1), limits)),
      'too_many_requests',
    );
  });

  it('has room on the disk twice, beside what is left for the logs', () => {
    assert.equal(
      refusal(() => checkDisk(mebi, 258 * mebi)),
      undefined,
    );
    assert.equal(
      refusal(() => checkDisk(mebi, 258 * mebi - 1)),
      'disk_full',
    );
  });
});
