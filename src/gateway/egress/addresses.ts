import { classify, type Classify } from '../../base/addresses.ts';
import { refusal, shown, type Refusal } from './refusal.ts';

/** Refuses a name of which any address may not be reached: which of them a program takes is up to it. */
export function checkAddresses(
  host: string,
  addresses: readonly string[],
  allowPrivate: boolean,
  classifyOne: Classify = classify,
): Refusal | undefined {
  let found: Refusal | undefined;
  for (const address of addresses) {
    const kind = classifyOne(address);
    if (kind === 'forbidden') {
      return refusal(
        'address',
        `${host} stands for ${shown(address, 60)}: this machine, a neighbour on its link, or a service of its cloud. No rule allows that.`,
      );
    }
    if (kind === 'private' && !allowPrivate) {
      found = refusal(
        'private_address',
        `${host} stands for the private address ${shown(address, 60)}. The user can allow it with a rule that ends with the word private.`,
      );
    }
  }
  return found;
}
