// All of AWS that the host needs for Bedrock; a bundle of its own, read when Bedrock is first used.
export { checkBedrock } from './bedrockCheck.ts';
export { temporaryKeys } from './bedrockKeys.ts';
