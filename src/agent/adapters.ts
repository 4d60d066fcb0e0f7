import type { AgentSpec } from '../protocol/task.ts';
import type { AgentAdapter } from './adapter.ts';
import { claudeCode } from './claudeCode.ts';

export const adapters: Record<AgentSpec['kind'], AgentAdapter> = { 'claude-code': claudeCode };
