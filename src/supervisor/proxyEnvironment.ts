import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isErrno } from '../base/errors.ts';

/** What makes the programs in a sandbox use its one way out. */
export interface ProxyEnvironment {
  env: Record<string, string>;
  /** Files for programs that look at no environment, by absolute path. */
  files: { path: string; content: string }[];
}

/** The sandbox's own addresses: what runs in it, and the model's endpoint, are reached without the proxy. */
const own = ['localhost', '127.0.0.1', '::1'];

/** Every authority that the image trusts, a company's among them. Most languages bring a list of their own. */
const systemAuthorities = '/etc/ssl/certs/ca-certificates.crt';

/**
 * For every agent alike. Only HTTP is proxied: there is no `ALL_PROXY`, because nothing but HTTP would get through. Pure.
 * @param proxyUrl of the egress proxy on the loopback, without a trailing slash
 * @param authorities PEM file with what is trusted
 */
export function proxyEnvironment(
  proxyUrl: string,
  home: string,
  authorities = systemAuthorities,
): ProxyEnvironment {
  const { hostname: host, port } = new URL(proxyUrl);
  const noProxy = own.join(',');
  const noProxyForJava = 'localhost|127.*|[::1]';
  const java = [
    ...['http', 'https'].flatMap((scheme) => [
      `-D${scheme}.proxyHost=${host}`,
      `-D${scheme}.proxyPort=${port}`,
    ]),
    `-Dhttp.nonProxyHosts=${noProxyForJava}`,
  ];
  const aptConfig = join(home, '.config', 'sallyport', 'apt.conf');
  return {
    env: {
      // curl reads http_proxy in lower case only, and others only capitals.
      HTTP_PROXY: proxyUrl,
      HTTPS_PROXY: proxyUrl,
      NO_PROXY: noProxy,
      http_proxy: proxyUrl,
      https_proxy: proxyUrl,
      no_proxy: noProxy,
      // Node.js itself, from 24 on.
      NODE_USE_ENV_PROXY: '1',
      npm_config_proxy: proxyUrl,
      npm_config_https_proxy: proxyUrl,
      npm_config_noproxy: noProxy,
      // Sends what is installed to the registry, by a method that reading does not need.
      npm_config_audit: 'false',
      YARN_HTTP_PROXY: proxyUrl,
      YARN_HTTPS_PROXY: proxyUrl,
      PIP_PROXY: proxyUrl,
      PIP_DISABLE_PIP_VERSION_CHECK: '1',
      CARGO_HTTP_PROXY: proxyUrl,
      APT_CONFIG: aptConfig,
      // Every Java program; it says on stderr that it has read this.
      JAVA_TOOL_OPTIONS: java.join(' '),
      SSL_CERT_FILE: authorities,
      NODE_EXTRA_CA_CERTS: authorities,
      REQUESTS_CA_BUNDLE: authorities,
      PIP_CERT: authorities,
      CURL_CA_BUNDLE: authorities,
      CARGO_HTTP_CAINFO: authorities,
      GIT_SSL_CAINFO: authorities,
    },
    files: [
      {
        path: aptConfig,
        content: `Acquire::http::Proxy "${proxyUrl}";\nAcquire::https::Proxy "${proxyUrl}";\n`,
      },
      { path: join(home, '.m2', 'settings.xml'), content: mavenSettings(host, port, noProxyForJava) },
      { path: join(home, '.gradle', 'gradle.properties'), content: gradleProperties(java) },
    ],
  };
}

/** Maven's own transport looks at no property of Java's. */
function mavenSettings(host: string, port: string, nonProxyHosts: string): string {
  const proxies = ['http', 'https'].map(
    (protocol) =>
      `    <proxy><id>sallyport-${protocol}</id><active>true</active><protocol>${protocol}</protocol>` +
      `<host>${host}</host><port>${port}</port><nonProxyHosts>${nonProxyHosts}</nonProxyHosts></proxy>`,
  );
  return `<settings>\n  <proxies>\n${proxies.join('\n')}\n  </proxies>\n</settings>\n`;
}

function gradleProperties(java: readonly string[]): string {
  return java.map((option) => `${option.replace(/^-D/, 'systemProp.')}\n`).join('');
}

/** Writes the files that are not there: an image may bring its own settings, and then knows why. */
export async function writeProxyFiles(files: ProxyEnvironment['files']): Promise<void> {
  for (const { path, content } of files) {
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content, { flag: 'wx' });
    } catch (thrown) {
      if (!isErrno(thrown, 'EEXIST')) throw thrown;
    }
  }
}
