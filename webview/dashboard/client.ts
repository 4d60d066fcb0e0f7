import type { QuestionAnswer } from '../../src/protocol/question.ts';
import * as z from 'zod/mini';
import {
  AuditPage,
  AuthState,
  Grant,
  type GrantRequest,
  Me,
  NewToken,
  SessionView,
} from '../../src/protocol/accounts.ts';
import {
  type EgressAnswerBody,
  type Role,
  type Scope,
  type SubmissionInput,
  TaskView,
  TokenView,
  UserView,
} from '../../src/protocol/runnerApi.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import type { Api } from './api.ts';

/** Every request of the dashboard's, by what it is for. Each throws an ApiError. */
export class Client {
  readonly api: Api;

  constructor(api: Api) {
    this.api = api;
  }

  // Who

  authState(): Promise<AuthState> {
    return this.api.call('GET', '/auth/state', { schema: AuthState });
  }

  async me(): Promise<UserView> {
    return (await this.api.call('GET', '/api/v1/me', { schema: Me })).user;
  }

  async setUp(body: { secret: string; login: string; name?: string; password: string }): Promise<void> {
    await this.api.call('POST', '/auth/setup', { body });
  }

  async signIn(body: { login: string; password: string }): Promise<void> {
    await this.api.call('POST', '/auth/login', { body });
  }

  async mailLink(body: { email: string; next: string }): Promise<void> {
    await this.api.call('POST', '/auth/magic-link', { body });
  }

  async signOut(): Promise<void> {
    await this.api.call('POST', '/auth/logout');
  }

  grant(body: GrantRequest): Promise<Grant> {
    return this.api.call('POST', '/auth/grants', { body, schema: Grant });
  }

  async changePassword(body: { current?: string; password: string }): Promise<void> {
    await this.api.call('POST', '/auth/password', { body });
  }

  async sessions(): Promise<SessionView[]> {
    const schema = z.object({ sessions: z.array(SessionView) });
    return (await this.api.call('GET', '/api/v1/sessions', { schema })).sessions;
  }

  async endSession(id: string): Promise<void> {
    await this.api.call('DELETE', `/api/v1/sessions/${encodeURIComponent(id)}`);
  }

  async tokens(): Promise<TokenView[]> {
    const schema = z.object({ tokens: z.array(TokenView) });
    return (await this.api.call('GET', '/api/v1/tokens', { schema })).tokens;
  }

  createToken(body: { name: string; scopes: Scope[]; expiresAt: number | null }): Promise<NewToken> {
    return this.api.call('POST', '/api/v1/tokens', { body, schema: NewToken });
  }

  async revokeToken(id: string): Promise<void> {
    await this.api.call('DELETE', `/api/v1/tokens/${encodeURIComponent(id)}`);
  }

  async users(): Promise<UserView[]> {
    const schema = z.object({ users: z.array(UserView) });
    return (await this.api.call('GET', '/api/v1/users', { schema })).users;
  }

  async createUser(body: { login: string; name?: string; role: Role; password?: string }): Promise<void> {
    await this.api.call('POST', '/api/v1/users', { body });
  }

  async changeUser(
    id: string,
    body: { role?: Role; disabled?: boolean; name?: string; password?: string },
  ): Promise<void> {
    await this.api.call('PATCH', `/api/v1/users/${encodeURIComponent(id)}`, { body });
  }

  audit(before?: number): Promise<AuditPage> {
    const query = before === undefined ? '' : `?before=${before}`;
    return this.api.call('GET', `/api/v1/audit${query}`, { schema: AuditPage });
  }

  // Tasks

  submit(body: SubmissionInput, key: string): Promise<TaskView> {
    const headers = { 'idempotency-key': key };
    return this.api.call('POST', '/api/v1/tasks', { body, headers, schema: TaskView });
  }

  task(id: string): Promise<TaskView> {
    return this.api.call('GET', `/api/v1/tasks/${id}`, { schema: TaskView });
  }

  /** Of the same version as this page, so what it says is read as it is. */
  async state(id: string): Promise<TaskState | undefined> {
    return (await this.task(id)).state as TaskState | undefined;
  }

  change(id: string, body: { shared?: boolean; priority?: number; title?: string }): Promise<TaskView> {
    return this.api.call('PATCH', `/api/v1/tasks/${id}`, { body, schema: TaskView });
  }

  cancel(id: string): Promise<TaskView> {
    return this.api.call('POST', `/api/v1/tasks/${id}/cancel`, { schema: TaskView });
  }

  retry(id: string): Promise<TaskView> {
    return this.api.call('POST', `/api/v1/tasks/${id}/retry`, { schema: TaskView });
  }

  confirm(id: string, body: { repository?: string; branch?: string }): Promise<TaskView> {
    return this.api.call('POST', `/api/v1/tasks/${id}/confirm`, { body, schema: TaskView });
  }

  message(id: string, text: string): Promise<TaskView> {
    return this.api.call('POST', `/api/v1/tasks/${id}/messages`, { body: { text }, schema: TaskView });
  }

  async interrupt(id: string): Promise<void> {
    await this.api.call('POST', `/api/v1/tasks/${id}/interrupt`);
  }

  async answerQuestion(id: string, question: string, answer: QuestionAnswer): Promise<void> {
    await this.api.call('POST', `/api/v1/tasks/${id}/answers`, { body: { id: question, answer } });
  }

  async remove(id: string, force: boolean): Promise<void> {
    await this.api.call('DELETE', `/api/v1/tasks/${id}${force ? '?force=true' : ''}`);
  }

  async answer(id: string, body: EgressAnswerBody): Promise<void> {
    await this.api.call('POST', `/api/v1/tasks/${id}/egress`, { body });
  }

  async setBudget(id: string, usd: number | null): Promise<void> {
    await this.api.call('POST', `/api/v1/tasks/${id}/budget`, { body: { usd } });
  }

  /** What all tasks of the runner cost today, in US dollars. */
  async spentToday(): Promise<number> {
    return (await this.api.call('GET', '/api/v1/spend', { schema: z.object({ usd: z.number() }) })).usd;
  }

  async patch(
    id: string,
    range: { from: string; to: string } | undefined,
  ): Promise<{ text: string; truncated: boolean }> {
    const query = range === undefined ? '' : `?${new URLSearchParams(range)}`;
    const { text, headers } = await this.api.text(`/api/v1/tasks/${id}/diff${query}`);
    return { text, truncated: headers.get('x-sallyport-truncated') === 'true' };
  }
}
