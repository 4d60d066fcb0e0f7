/**
 * What a key looks like. Own patterns instead of a library's: every kind needs a second form of its pattern in any case,
 * one that `git grep` understands, so that of fifty thousand files only the few are read that may hold something.
 */

/** A likely key in a text. `value` stays inside `src/git`. */
export interface SecretMatch {
  kind: string;
  /** Where the value stands, in characters. */
  at: number;
  value: string;
}

interface Rule {
  kind: string;
  /**
   * Finds every line that `pattern` can match in, and more. In what POSIX extended, Perl's and JavaScript's expressions
   * have in common: no backslash, no look-around. It begins at the rarest character that it can, because searching
   * costs by how many places a match may begin at. Not needed where `files` says where to look.
   */
  prefilter?: string;
  /** Its first group is the value, or else all of it. Bounded repetitions only, so that no text makes it slow. */
  pattern: RegExp;
  /** For files of this name only. */
  files?: RegExp;
  /** Whether the value can be a real one. */
  isReal?: (value: string, match: RegExpExecArray) => boolean;
}

const alnum = 'A-Za-z0-9';
const notBefore = '(?<![A-Za-z0-9_-])';
const notAfter = '(?![A-Za-z0-9])';

/** A rule for keys that are known by how they begin. */
function prefixed(kind: string, form: string, prefilter: string): Rule {
  return { kind, prefilter, pattern: new RegExp(`${notBefore}${form}${notAfter}`, 'g') };
}

/** Of several kinds: a long word behind an underscore. */
const afterUnderscore = `_[${alnum}]{32}`;
/** Of several kinds: a long word that is assigned. */
const assignedWord = `[:=]>?[ \t]*["']?[${alnum}/+]{40}`;
const storageKey = `Key=[${alnum}/+]{40}`;

/** In their order: of two that match the same place the first one counts. */
const rules: readonly Rule[] = [
  {
    kind: 'Private key',
    prefilter: '-----BEGIN [A-Z ]{0,20}PRIVATE KEY',
    // Key material has to follow, perhaps with escaped line breaks as in JSON, and after headers as of PEM and PGP.
    pattern:
      /-----BEGIN (?:[A-Z]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----((?:[A-Za-z][A-Za-z-]{1,20}: [^\r\n\\]{0,200}(?:\r?\n|\\n)|\\r|\\n|[\s"'+,]){0,60}[A-Za-z0-9+/=]{40,76})/g,
    isReal: (value) => distinct(value) > 12,
  },
  {
    kind: 'PuTTY private key',
    prefilter: '-User-Key-File-[23]:',
    pattern: /PuTTY-User-Key-File-[23]: [^\n]{1,60}\r?\n/g,
  },
  prefixed('AWS access key', '(?:AKIA|ASIA)[A-Z2-7]{16}', '[KS]IA[A-Z2-7]{16}'),
  {
    kind: 'AWS secret key',
    prefilter: assignedWord,
    pattern: /aws.{0,30}key["']?\s{0,4}(?::|=>?|:=)\s{0,4}["']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])/gi,
    isReal: (value) => entropy(value) > 3.8,
  },
  prefixed('Google API key', `AIza[${alnum}_-]{35}`, `Iza[${alnum}_-]{35}`),
  prefixed('Google OAuth client secret', `GOCSPX-[${alnum}_-]{28}`, 'CSPX-'),
  { kind: 'Azure storage key', prefilter: storageKey, pattern: /AccountKey=([A-Za-z0-9/+]{86}==)/g },
  {
    kind: 'Azure shared access key',
    prefilter: storageKey,
    pattern: /SharedAccessKey=([A-Za-z0-9/+]{43}=)/g,
  },
  {
    kind: 'Azure client secret',
    prefilter: `Q~[${alnum}_~.-]{31}`,
    pattern: /(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])/g,
  },
  prefixed('GitHub token', `gh[pousr]_[${alnum}]{36,251}`, afterUnderscore),
  prefixed('GitHub token', `github_pat_[${alnum}]{22}_[${alnum}]{59}`, afterUnderscore),
  prefixed(
    'GitLab token',
    `gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[${alnum}_-]{20,64}`,
    'gl(pat|dt|rt|cbt|ptt|ft|soat|agent)-',
  ),
  {
    kind: 'Gitea token',
    prefilter: assignedWord,
    pattern: /(?:gitea|forgejo)[\w-]{0,20}token["']?\s{0,4}[:=]\s{0,4}["']?([0-9a-f]{40})(?![0-9a-zA-Z])/gi,
  },
  prefixed('Slack token', `xox[abeoprs]-[${alnum}-]{10,250}`, 'xox[abeoprs]-'),
  prefixed('Slack app token', 'xapp-[0-9]-[A-Z0-9]{8,16}-[0-9]{8,16}-[a-f0-9]{32,80}', 'xapp-'),
  {
    kind: 'Slack webhook',
    prefilter: '[.]slack[.]com/services/T',
    pattern: /hooks\.slack\.com\/services\/(T[A-Z0-9]{6,14}\/B[A-Z0-9]{6,14}\/[A-Za-z0-9]{20,30})/g,
  },
  prefixed('Stripe key', `(?:sk|rk)_live_[${alnum}]{16,247}`, `_live_[${alnum}]{16}`),
  prefixed('Stripe webhook secret', `whsec_[${alnum}]{32,80}`, afterUnderscore),
  prefixed('npm token', `npm_[${alnum}]{36}`, afterUnderscore),
  prefixed('PyPI token', `pypi-AgEIcHlwaS5vcmc[${alnum}_-]{50,400}`, '-AgEIcHlwaS5vcmc'),
  prefixed('Anthropic key', `sk-ant-[a-z]{3,8}[0-9]{2}-[${alnum}_-]{20,200}`, '-ant-[a-z]{3,8}[0-9]{2}-'),
  prefixed(
    'OpenAI key',
    `sk-(?:proj|svcacct|admin)-[${alnum}_-]{20,250}`,
    `-(proj|svcacct|admin)-[${alnum}_-]{20}`,
  ),
  prefixed('OpenAI key', `sk-[${alnum}]{20}T3BlbkFJ[${alnum}]{20}`, 'T3BlbkFJ'),
  prefixed('Hugging Face token', `hf_[${alnum}]{34}`, afterUnderscore),
  prefixed('SendGrid key', `SG[.][${alnum}_-]{22}[.][${alnum}_-]{43}`, `SG[.][${alnum}_-]{22}`),
  prefixed('DigitalOcean token', 'do[por]_v1_[a-f0-9]{64}', afterUnderscore),
  prefixed('Databricks token', 'dapi[a-f0-9]{32}', 'pi[a-f0-9]{32}'),
  prefixed('Docker Hub token', `dckr_[po]at_[${alnum}_-]{27,32}`, `_[po]at_[${alnum}_-]{27}`),
  prefixed('Shopify token', 'shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}', afterUnderscore),
  prefixed('Vault token', `hv[sb][.][${alnum}_-]{24,250}`, `v[sb][.][${alnum}_-]{24}`),
  prefixed('Grafana token', `glsa_[${alnum}]{32}_[a-fA-F0-9]{8}`, afterUnderscore),
  prefixed('RubyGems key', 'rubygems_[a-f0-9]{48}', afterUnderscore),
  prefixed('Linear key', `lin_api_[${alnum}]{40}`, afterUnderscore),
  prefixed('age secret key', 'AGE-SECRET-KEY-1[0-9A-Z]{58}', '-KEY-1[0-9A-Z]{58}'),
  {
    kind: 'JSON web token',
    prefilter: `[.]eyJ[${alnum}_-]{10}`,
    pattern: /(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,500}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,700}/g,
    isReal: isLiveToken,
  },
  {
    kind: 'Registry token',
    pattern: /_(?:authToken|auth|password)[ \t]{0,4}=[ \t]{0,4}["']?([^\s"'#]{8,400})/g,
    files: /(^|\/)\.?(npmrc|yarnrc)$/,
  },
  {
    kind: 'Password of a login file',
    pattern: /password[ \t]{0,4}[ \t:=][ \t]{0,4}([^\s"'#]{4,200})/gi,
    files: /(^|\/)([._]netrc|\.pypirc|\.my\.cnf)$/,
  },
  {
    kind: 'Password of a database',
    pattern: /^[^:#\s]{1,255}:[0-9*]{1,5}:[^:\n]{1,100}:[^:\n]{1,100}:([^\r\n]{1,200})$/gm,
    files: /(^|\/)\.?pgpass(\.conf)?$/,
  },
  {
    kind: 'Login of a container registry',
    pattern: /"auth"\s{0,4}:\s{0,4}"([A-Za-z0-9+/=]{8,4000})"/g,
    files: /(^|\/)(\.docker\/config\.json|\.dockercfg|\.dockerconfigjson|auth\.json)$/,
  },
  {
    kind: 'Password in a URL',
    prefilter: `://[^/:@ "'<>]{0,100}:[^/@ "'<>]{3,200}@[${alnum}.-]`,
    pattern:
      /(?<![a-z0-9+])[a-z][a-z0-9+]{1,20}:\/\/([^/:@\s"'<>]{0,100}):([^/@\s"'<>]{3,200})@([A-Za-z0-9.-]{1,253})/g,
    isReal: isRealLogin,
  },
  {
    kind: 'Secret in an environment file',
    pattern:
      /^[ \t]{0,8}(?:export[ \t]{1,4})?[A-Za-z0-9_]{0,60}(?:passw(?:or)?d|secret|token|api_?key|access_?key|private_?key|credential)s?[A-Za-z0-9_]{0,30}[ \t]{0,4}=[ \t]{0,4}["']?([^\s"'#$<{][^\s"'#]{5,400})/gim,
    files: /(^|\/)(\.env(\.[A-Za-z0-9_-]+)*|[A-Za-z0-9_-]+\.env|\.envrc)$/,
    isReal: (value) =>
      !/^(true|false|none|null|\d{1,9}|https?:\/\/[^:@]*)$/i.test(value) && !isIdentifier(value),
  },
  {
    kind: 'Assigned secret',
    // Ends of the words in `pattern`: cret, credential, ken, key, wd, word.
    prefilter: `([Cc][Rr][Ee]([Tt]|[Dd]ential|DENTIAL)|[Kk][Ee][NnYy]|[Ww]([Oo][Rr])?[Dd])s?[${alnum}_]{0,20}["']?[ \t]*[=:>]+[ \t]*["'][${alnum}+/=_.~!@#%^&*-]{12,200}["']`,
    pattern:
      /(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)s?[A-Za-z0-9_]{0,20}["']?[ \t]{0,20}(?:=>|:=|={1,3}|:)[ \t]{0,20}["']([A-Za-z0-9+/=_.~!@#%^&*-]{12,200})["']/gi,
    isReal: (value) =>
      isMixed(value) &&
      !isIdentifier(value) &&
      !isPathOrVersion(value) &&
      entropy(value) >= (value.length >= 24 ? 3.6 : 3.2),
  },
];

/** Files whose name says that they hold keys, whatever is in them. */
const keyFiles: readonly { kind: string; name: RegExp; butNot?: RegExp }[] = [
  { kind: 'SSH private key', name: /(^|\/)id_(rsa|dsa|ecdsa|ed25519)(_sk)?$/ },
  {
    kind: 'Key store',
    name: /\.(p12|pfx|jks|keystore|kdbx|ppk)$/i,
    butNot: /(^|\/)(debug|test)\.(keystore|jks|p12|pfx)$/i,
  },
];

/** Full of hashes that look like keys: only what has a known form counts there. */
const lockFiles =
  /(^|\/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lock|Cargo\.lock|go\.sum|composer\.lock|poetry\.lock|uv\.lock|Pipfile\.lock|Gemfile\.lock|flake\.lock|Podfile\.lock)$/;
/** Templates of environment files hold no values that are used. */
const templates = /(^|\/)[^/]*\.?(example|sample|template|dist|defaults)(\.[a-z]+)?$/i;

/** For `git grep`: finds every file in which `secretsIn` can find something, but those that `isSuspect` knows. */
export const prefilter = [...new Set(rules.flatMap((rule) => rule.prefilter ?? []))].join('|');

/** Whether a file has to be looked into for its name alone. */
export function isSuspect(path: string): boolean {
  return keyFileKind(path) !== undefined || rules.some(({ files }) => files?.test(path) === true);
}

/** The kind of key that a file holds by its name. */
export function keyFileKind(path: string): string | undefined {
  return keyFiles.find(({ name, butNot }) => name.test(path) && butNot?.test(path) !== true)?.kind;
}

/** Likely keys in the text of a file, in their order. The text may be any bytes as latin1. */
export function secretsIn(path: string, text: string): SecretMatch[] {
  const found: (SecretMatch & { end: number })[] = [];
  for (const { kind, pattern, files, isReal } of rules) {
    if (files !== undefined && (!files.test(path) || templates.test(path))) continue;
    if (kind === 'Assigned secret' && lockFiles.test(path)) continue;
    for (const match of text.matchAll(pattern)) {
      const value = (kind === 'Password in a URL' ? match[2] : match[1]) ?? match[0];
      const at = match.index + match[0].lastIndexOf(value);
      if (kind !== 'Private key' && kind !== 'PuTTY private key' && isPlaceholder(value)) continue;
      if (isReal?.(value, match) === false) continue;
      const end = at + value.length;
      if (!found.some((other) => at < other.end && other.at < end)) found.push({ kind, at, value, end });
    }
  }
  return found.sort((a, b) => a.at - b.at).map(({ kind, at, value }) => ({ kind, at, value }));
}

const stock =
  /example|change_?me|your[_-]?|placeholder|dummy|redacted|insert|replace[_-]?|not[_-]?(a[_-]?)?(real|secret)|todo|fixme|foo_?bar|hunter2|s3cr3t|12345678|abcdefgh|deadbeef|lorem/i;

/** What stands in documents and templates in place of a value. */
function isPlaceholder(value: string): boolean {
  return (
    stock.test(value) ||
    /^[<[{(%$]|\$\{|\$\(|\{\{|%\(|#\{|<[A-Za-z_ -]+>|\.\.\.|\*{3}|x{4}|X{4}/.test(value) ||
    distinct(value) < Math.min(4, value.length) ||
    isSequence(value)
  );
}

/** Runs such as 0123456789abcdef. */
function isSequence(value: string): boolean {
  let steps = 0;
  for (let at = 1; at < value.length; at++) {
    const step = value.charCodeAt(at) - value.charCodeAt(at - 1);
    if (step === 0 || step === 1 || step === -1) steps++;
  }
  return value.length >= 8 && steps > (value.length - 1) * 0.6;
}

/** Letters and digits by turns, as chance has them; in names a digit stands at the end of a word, if at all. */
function isMixed(value: string): boolean {
  return (value.match(/[A-Za-z](?=\d)|\d(?=[A-Za-z])/g)?.length ?? 0) >= 3;
}

function isIdentifier(value: string): boolean {
  // Names of settings, keys of translations, constants: words with at most a number behind.
  return /^[A-Za-z]+([_.:-][A-Za-z]+)*[_.:-]?\d{0,4}$/.test(value) && entropy(value) < 4.2;
}

function isPathOrVersion(value: string): boolean {
  return /^\.{0,2}\/[\w.-]+(\/[\w.-]+)*\/?$|^[~^]?\d+(\.\d+)+|^[\w-]+(\.[a-z][\w-]*){2,}$|^\d{4}-\d\d-\d\d/.test(
    value,
  );
}

const weak =
  /^(pass|passw(or)?d|pwd|pw|secret|user|username|admin|root|guest|test|token|postgres|mysql|mongo|redis|default|example|demo|dev|local|p|x+|\*+)\d{0,3}$/i;

/** A login in a URL, unless it is a variable, a word in its place, or a default of a service on the same machine. */
function isRealLogin(password: string, match: RegExpExecArray): boolean {
  const [, user = '', , host = ''] = match;
  if (weak.test(password) || /^[$%{<:]|[{}$<>]/.test(password)) return false;
  if (/^(.*\.)?example(\.(com|org|net))?$|\.(test|invalid|example)$/i.test(host)) return false;
  const isLocal = !host.includes('.') || /^127\.|^0\.0\.0\.0$/.test(host);
  return !(isLocal && (password === user || password.length < 8));
}

/** A token whose payload is readable, and that is not over and not the one in every document. */
function isLiveToken(value: string): boolean {
  try {
    const [head = '', payload = ''] = value.split('.');
    const header: unknown = JSON.parse(Buffer.from(head, 'base64url').toString());
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
    if (typeof header !== 'object' || header === null || !('alg' in header) || header.alg === 'none')
      return false;
    if (typeof claims !== 'object' || claims === null) return false;
    if ('sub' in claims && claims.sub === '1234567890') return false;
    return !('exp' in claims && typeof claims.exp === 'number' && claims.exp * 1000 < Date.now());
  } catch {
    return false;
  }
}

function distinct(value: string): number {
  return new Set(value).size;
}

/** Bits for each character. */
function entropy(value: string): number {
  const counts = new Map<string, number>();
  for (const char of value) counts.set(char, (counts.get(char) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / value.length) * Math.log2(count / value.length);
  return bits;
}
