import assert from 'node:assert/strict';
import { remoteReach } from '../../src/gateway/remoteReach.ts';

const message = (...content: unknown[]): unknown => ({ messages: [{ role: 'user', content }] });

const nested = (depth: number): unknown =>
  depth === 0 ? { type: 'text' } : { type: 'tool_result', content: [nested(depth - 1)] };

describe('remoteReach', () => {
  it('lets through what the agent itself sends', () => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'x' } };
    const harmless = [
      {},
      {
        messages: [{ role: 'user', content: 'https://example.com' }],
        tools: [{ name: 'Bash', input_schema: {} }],
      },
      {
        tools: [
          { type: 'custom', name: 'x' },
          { type: 'bash_20250124', name: 'bash' },
          { type: null, name: 'y' },
        ],
      },
      { mcp_servers: [], container: null, tools: null },
      message({ type: 'text', text: 'x' }, image, {
        type: 'tool_result',
        tool_use_id: 'a',
        content: [image],
      }),
      message({
        type: 'tool_use',
        id: 'a',
        name: 'Write',
        input: {},
        content: [{ type: 'image', source: { type: 'url' } }],
      }),
      message({ type: 'document', source: { type: 'text', data: 'x' } }),
      message({
        type: 'document',
        source: { type: 'content', content: [{ type: 'text', text: 'x' }, image] },
      }),
      message({ type: 'tool_addition', tool: { type: 'tool_reference', name: 'Bash' } }),
      message({ type: 'tool_addition', tool: { type: 'tool_definition', definition: { name: 'x' } } }),
      { system: [{ type: 'text', text: 'x' }] },
    ];
    for (const body of harmless) assert.equal(remoteReach(body), undefined, JSON.stringify(body));
  });

  it('blocks what would run or be fetched at the service, and says so', () => {
    const url = { type: 'image', source: { type: 'url', url: 'https://evil.example/?secret' } };
    const reaching: [unknown, RegExp][] = [
      [{ tools: [{ name: 'Bash' }, { type: 'web_search_20250305', name: 'web_search' }] }, /web_search/],
      [{ tools: [{ type: 'web_fetch_20250910', name: 'web_fetch' }] }, /web_fetch/],
      [{ tools: [{ type: 'code_execution_20250825', name: 'code_execution' }] }, /code_execution/],
      [{ tools: [{ type: 'mcp_toolset', mcp_server_name: 'x' }] }, /mcp_toolset/],
      [{ tools: [{ type: 'something_new', name: 'x' }] }, /something_new/],
      [{ mcp_servers: [{ type: 'url', url: 'https://evil.example' }] }, /mcp_servers/],
      [{ container: 'abc' }, /container/],
      [{ container: { skills: [] } }, /container/],
      [message(url), /"url"/],
      [message({ type: 'document', source: { type: 'file', file_id: 'x' } }), /"file"/],
      [
        message({ type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: '' }, url] }),
        /"url"/,
      ],
      [message({ type: 'document', source: { type: 'content', content: [url] } }), /"url"/],
      [message({ type: 'container_upload', file_id: 'x' }), /container/],
      [
        message({
          type: 'tool_addition',
          tool: { type: 'tool_definition', definition: { type: 'web_fetch_1' } },
        }),
        /web_fetch_1/,
      ],
      [message({ type: 'tools', tools: [{ type: 'web_search_1', name: 'x' }] }), /web_search_1/],
      [{ system: [url] }, /"url"/],
      [message(nested(30)), /Messages API/],
      ['text', /Messages API/],
      [{ tools: 'x' }, /Messages API/],
    ];
    for (const [body, reason] of reaching)
      assert.match(remoteReach(body) ?? 'passed', reason, JSON.stringify(body));
  });
});
