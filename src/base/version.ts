import manifest from '../../package.json' with { type: 'json' };

/** Of Sallyport, as package.json says it. The bundler leaves only this line of that file. */
export const { version } = manifest;
