/** Something that is asked for, and that a forge's document does not describe. */
export interface Gap {
  /** Name of the document. */
  document: string;
  operation: string;
  /** The whole operation, a parameter of its query, or a field of its body. */
  what: 'operation' | 'query' | 'body';
  name: string;
  why: string;
}

const repository = '/repositories/{workspace}/{repo_slug}';
const pull = `${repository}/pullrequests/{pull_request_id}`;

/** What is neither in the document nor here is refused; what is here and in the document, or not asked for, fails a test. */
export const gaps: readonly Gap[] = [
  {
    document: 'github',
    operation: 'post /api/graphql',
    what: 'operation',
    name: 'markPullRequestReadyForReview',
    why: 'GraphQL is no part of the REST API, which cannot take the mark of a draft off',
  },
  ...[`post ${repository}/pullrequests`, `put ${pull}`].map((operation) => ({
    document: 'bitbucket',
    operation,
    what: 'body' as const,
    name: 'description',
    why: 'Described in words ("Other fields"); the schema has its text in answers only, as `summary.raw`',
  })),
  {
    document: 'bitbucket',
    operation: `get ${repository}/pullrequests`,
    what: 'query',
    name: 'q',
    why: 'Described in words ("also supports filtering")',
  },
  ...[
    `get ${repository}/pullrequests`,
    `get ${repository}/branch-restrictions`,
    `get ${pull}/statuses`,
  ].flatMap((operation) =>
    ['page', 'pagelen'].map((name) => ({
      document: 'bitbucket',
      operation,
      what: 'query' as const,
      name,
      why: 'Described once for all lists, in words',
    })),
  ),
];
