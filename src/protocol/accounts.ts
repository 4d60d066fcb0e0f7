import * as z from 'zod/mini';
import { Role, Scope, TokenView, UserView } from './runnerApi.ts';

/**
 * What a runner's server and its clients say about users and their credentials: signing in, sessions, tokens, the audit
 * log. Times are milliseconds since the epoch.
 */

/** Fewest characters of a password. */
export const minPasswordLength = 8;

/** A name or an e-mail address; told apart without regard to case. */
const Login = z
  .string()
  .check(
    z.regex(/^[\x20-\x7e]{1,254}$/, 'has to be of plain letters, digits and . _ - + @'),
    z.trim(),
    z.toLowerCase(),
    z.regex(
      /^[a-z0-9](?:[a-z0-9._+-]|@(?!.*@))*$/,
      'has to be a name or an e-mail address, of letters, digits and . _ - + @',
    ),
  );
const Email = z.string().check(z.minLength(3), z.maxLength(254));
const Name = z.string().check(z.trim(), z.minLength(1), z.maxLength(100));
/** Its least length is checked where it is hashed; a longer one than this is no password. */
const Password = z.string().check(z.maxLength(1000));
/** Codes, verifiers, secrets: what a program makes, never a person. */
const Opaque = z.string().check(z.regex(/^[A-Za-z0-9._~-]{16,200}$/, 'is not what this server gave out'));

/** Who asks, of `GET /api/v1/me`. */
export const Me = z.object({
  user: UserView,
  scopes: z.array(Scope),
  via: z.enum(['session', 'token']),
});
export type Me = z.infer<typeof Me>;

/** Answer of `GET /auth/state`. */
export const AuthState = z.object({
  /** There is no administrator yet: only `POST /auth/setup` with the secret from the server's log goes on. */
  needsSetUp: z.boolean(),
  ways: z.object({ password: z.boolean(), magicLink: z.boolean(), github: z.boolean() }),
  me: z.optional(Me),
});
export type AuthState = z.infer<typeof AuthState>;

/** Body of `POST /auth/setup`. */
export const SetUpRequest = z.object({
  secret: z.string().check(z.maxLength(200)),
  login: Login,
  name: z.optional(Name),
  password: Password,
});

/** Body of `POST /auth/login`. */
export const SignInRequest = z.object({ login: z.string().check(z.maxLength(254)), password: Password });

/** Answer to a way of signing in; the session is in the cookie. */
export const SignedIn = z.object({ user: UserView });
export type SignedIn = z.infer<typeof SignedIn>;

/** Body of `POST /auth/password`. `current` is needed when there is one; every other session of the user ends. */
export const PasswordChange = z.object({ current: z.optional(Password), password: Password });

/** Body of `POST /auth/magic-link`. */
export const MagicLinkRequest = z.object({
  email: Email,
  /** A path of the dashboard to go on to. */
  next: z.optional(z.string().check(z.maxLength(2000))),
});

/** Body of `POST /auth/grants`: a user in the browser lets a program in (PKCE with S256). */
export const GrantRequest = z.object({
  /** Where the program listens: its own scheme in an editor, or `http://127.0.0.1:PORT/…`. */
  callback: z.string().check(z.maxLength(2000)),
  /** base64url of the SHA-256 of the verifier. */
  challenge: z
    .string()
    .check(z.regex(/^[A-Za-z0-9_-]{43}$/, 'has to be the base64url of a SHA-256, of 43 characters')),
  /** Handed back to the callback as it is. */
  state: z.string().check(z.minLength(1), z.maxLength(500)),
  /** Of the program, for the list of tokens. */
  name: Name,
});
export type GrantRequest = z.infer<typeof GrantRequest>;

/** `redirect` is the callback with `code` and `state`. */
export const Grant = z.object({ redirect: z.string(), code: z.string(), expiresAt: z.number() });
export type Grant = z.infer<typeof Grant>;

/** Body of `POST /auth/exchange`, once and within a minute. */
export const ExchangeRequest = z.object({ code: Opaque, verifier: Opaque });
export type ExchangeRequest = z.infer<typeof ExchangeRequest>;

/** A token, with its text, which is shown this once. */
export const NewToken = z.object({ token: z.string(), view: TokenView, user: UserView });
export type NewToken = z.infer<typeof NewToken>;

/** Body of `POST /api/v1/tokens`. */
export const TokenRequest = z.object({
  name: Name,
  /** A part of those of the owner's role; reading and writing tasks, as far as the role has it, when it is not said. */
  scopes: z.optional(z.array(Scope).check(z.minLength(1), z.maxLength(Scope.options.length))),
  /** 90 days from now when it is not said; null for never. */
  expiresAt: z.optional(z.nullable(z.number())),
});
export type TokenRequest = z.infer<typeof TokenRequest>;

export const SessionView = z.object({
  id: z.string(),
  createdAt: z.number(),
  lastSeenAt: z.number(),
  expiresAt: z.number(),
  /** What the browser called itself. */
  agent: z.string(),
  /** The one that asks. */
  current: z.boolean(),
});
export type SessionView = z.infer<typeof SessionView>;

/** Body of `POST /api/v1/users`. Without a password the user comes by mail. */
export const UserRequest = z.object({
  login: Login,
  name: z.optional(Name),
  role: Role,
  password: z.optional(Password),
});
export type UserRequest = z.infer<typeof UserRequest>;

/** Body of `PATCH /api/v1/users/:id`. A new password ends all sessions of that user. */
export const UserChange = z.object({
  name: z.optional(Name),
  role: z.optional(Role),
  disabled: z.optional(z.boolean()),
  password: z.optional(Password),
});
export type UserChange = z.infer<typeof UserChange>;

export const AuditEntry = z.object({
  n: z.int(),
  at: z.number(),
  /** Id and login, as it was then; absent for who was not signed in. */
  user: z.optional(z.string()),
  login: z.optional(z.string()),
  address: z.string(),
  action: z.string(),
  subject: z.string(),
  detail: z.string(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

export const AuditPage = z.object({
  /** Newest first. */
  entries: z.array(AuditEntry),
  /** For `?before=` of the next page; absent on the last. */
  next: z.optional(z.int()),
});
export type AuditPage = z.infer<typeof AuditPage>;
