export { claim, isHeld, newClaim } from '../base/ownership.ts';
