import { SallyportError, asSallyportError } from '../base/errors.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { readBundle, type BundleHeader } from './bundle.ts';
import type { GitOptions } from './process.ts';
import { objectKinds, receivePack, type ReceiveOptions, type Store } from './receive.ts';

interface IncomingOptions {
  /** Of what stands before the pack, in bytes. */
  maxHeaderBytes?: number | undefined;
  /** Looks at what the bundle says of itself, and throws why it is not wanted. Gives how it is to be received. */
  expect: (header: BundleHeader) => Promise<ReceiveOptions> | ReceiveOptions;
}

/**
 * Takes in the objects of a bundle whose prerequisites are all here: all of it or nothing. Throws an error of any kind when it is
 * not taken in: see `refusal`. Resolves to the bytes that it takes in the store.
 */
export async function receiveBundle(
  store: Store & { options(signal?: AbortSignal): GitOptions },
  bundle: ByteStream,
  { maxHeaderBytes, expect }: IncomingOptions,
): Promise<number> {
  const { header, pack } = await readBundle(bundle, maxHeaderBytes);
  try {
    const how = await expect(header);
    const kinds = await objectKinds(header.prerequisites, store.options(how.signal));
    const absent = header.prerequisites.find((sha) => kinds.get(sha) !== 'commit');
    if (absent !== undefined) throw new Error(`it builds on commit ${absent}, which is not here`);
    return await receivePack(store, pack, how);
  } finally {
    await pack.return(undefined);
  }
}

/** What stands for the user when an import fails: what went wrong with the bundle, or what is wrong with the machine. */
export function refusal(thrown: unknown, what: string, mend: string): SallyportError {
  if (thrown instanceof SallyportError && thrown.code !== 'git_failed') return thrown;
  if (typeof (thrown as NodeJS.ErrnoException).code === 'string' && !(thrown instanceof SallyportError)) {
    return asSallyportError(thrown);
  }
  const raw = thrown instanceof Error ? thrown.message : String(thrown);
  const message = /attempting to allocate|out of memory/i.test(raw)
    ? 'one of its objects would take more memory than is allowed.'
    : raw;
  return new SallyportError(
    'import_refused',
    `${what}: ${message}`,
    `Nothing of it is in the quarantine. ${mend}`,
    { cause: thrown },
  );
}
