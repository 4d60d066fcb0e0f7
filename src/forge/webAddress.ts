import { gitRoots, isRepositoryName, named, type ForgeKind } from './names.ts';

/** The addresses of a forge's repositories on the web. */
export class WebAddress {
  readonly origin: string;
  private readonly kind: ForgeKind;
  private readonly root: string;

  /** @param webUrl of the forge, which may be below a path */
  constructor(kind: ForgeKind, webUrl: string) {
    const { origin, pathname } = new URL(webUrl);
    this.kind = kind;
    this.origin = origin;
    const below = gitRoots[kind];
    this.root = `${pathname.replace(/\/+$/, '')}${below === undefined ? '' : `/${below}`}`;
  }

  /** Name of the repository at an address of this forge; undefined for any other address. */
  repositoryAt(url: string): string | undefined {
    if (!URL.canParse(url)) return undefined;
    const { origin, pathname, username, password, search, hash } = new URL(url);
    if (origin !== this.origin || `${username}${password}${search}${hash}` !== '') return undefined;
    if (!pathname.startsWith(`${this.root}/`)) return undefined;
    const name = pathname
      .slice(this.root.length + 1)
      .replace(/\/+$/, '')
      .replace(/\.git$/, '');
    return isRepositoryName(name, this.kind) ? name : undefined;
  }

  urlOf(repository: string): string {
    return `${this.origin}${this.root}/${named(repository, this.kind)}.git`;
  }
}
