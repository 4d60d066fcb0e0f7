# Abuse of the model broker, over its unix socket. What must not arrive at the model's service carries a mark. The world
# `direct` is the service itself, without a broker before it.

PLAIN = {'model': 'claude-test', 'max_tokens': 1}


def hello_with(mark):
    return {**PLAIN, 'messages': [{'role': 'user', 'content': mark}]}


def request(path, body, token=None, more='', method='POST', auth=True, length=True):
    payload = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f'{method} {path} HTTP/1.1', 'Host: gateway', 'Content-Type: application/json']
    if auth:
        lines.append(f'Authorization: Bearer {token or ARGS["token"]}')
    if length:
        lines.append(f'Content-Length: {len(payload)}')
    return ('\r\n'.join(lines) + '\r\n' + more + '\r\n').encode('latin1') + payload


def messages(body, **more):
    return request('/v1/messages?beta=true', body, **more)


@attack('No token, or not the one of this task', 'direct')
def tokens():
    own = ARGS['token']
    return marked([
        ('none', lambda m: messages(hello_with(m), auth=False)),
        ('another one', lambda m: messages(hello_with(m), token='0' * len(own))),
        ("another task's", lambda m: messages(hello_with(m), token=ARGS['otherToken'])),
        ('the beginning of it', lambda m: messages(hello_with(m), token=own[:-1])),
        ('more than it', lambda m: messages(hello_with(m), token=own + 'a')),
        ('in capitals', lambda m: messages(hello_with(m), token=own.upper() if own.upper() != own else own + 'A')),
        ('an empty one', lambda m: messages(hello_with(m), auth=False, more='Authorization: Bearer \r\nx-api-key: \r\n')),
        ('in the query', lambda m: request(f'/v1/messages?token={own}', hello_with(m), auth=False)),
        ('in a cookie', lambda m: messages(hello_with(m), auth=False, more=f'Cookie: token={own}\r\n')),
        ('for a proxy', lambda m: messages(hello_with(m), auth=False, more=f'Proxy-Authorization: Bearer {own}\r\n')),
        ('as a password', lambda m: messages(hello_with(m), auth=False, more=f'Authorization: Basic {own}\r\n')),
        ('twice, the second right', lambda m: messages(hello_with(m), auth=False, more=f'Authorization: Bearer wrong\r\nAuthorization: Bearer {own}\r\n')),
    ])


@attack("A credential of the attacker's own, that the service would take", 'direct')
def own_credentials():
    names = ('x-api-key', 'Cookie', 'x-amz-security-token', 'X-Amz-Date', 'x-goog-api-key', 'x-goog-user-project', 'Proxy-Authorization', 'X-Forwarded-For', 'X-Forwarded-Host', 'Forwarded', 'X-Original-URL', 'X-Rewrite-URL', 'X-HTTP-Method-Override')
    tries = [(name, lambda m, name=name: messages(hello_with('x'), more=f'{name}: {m}\r\n')) for name in names]
    tries.append(('authorization, beside the token as a key', lambda m: messages(hello_with('x'), auth=False, more=f'x-api-key: {ARGS["token"]}\r\nAuthorization: Bearer {m}\r\n')))
    tries.append(('a second host', lambda m: messages(hello_with('x')).replace(b'Host: gateway', f'Host: {m}.example.com'.encode())))
    tries.append(('a header that Connection names', lambda m: messages(hello_with('x'), more=f'Connection: x-mine\r\nx-mine: {m}\r\n')))
    return marked(tries)


@attack('Paths besides those of the messages', 'direct')
def paths():
    names = ('/v1/files', '/v1/messages/batches', '/v1/organizations/me', '/v1/organizations/api_keys', '/v1/complete', '/v1/skills', '/v1/environments', '/v1/sessions', '/v1/oauth/token', '/api/oauth/usage', '//v1/messages', '/v1//messages', '/v1/messages/', '/v1/messages/../files', '/v1/./messages', '/v1/messages/..%2ffiles', '/v1/messages%2f..%2ffiles', '/v1%2fmessages', '/V1/messages', '/v1/Messages', '/v1/messages;x', '/v1/messages%20', '/v1/messages%00', '/v1/%6dessages', '\\v1\\messages', '/v1/messages/count_tokens/../../files', '/v1/models/claude-test', '/v1/models/../files', '/x/../v1/messages', 'http://model.example.com:8000/v1/files', 'http://forbidden.example.com/v1/messages', '//forbidden.example.com/v1/messages', '/model/anthropic.claude-test/invoke', '/model/anthropic.claude-test/invoke-with-response-stream', '/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-test:rawPredict', '*', '/')
    tries = [(name, lambda m, name=name: request(name, hello_with(m))) for name in names]
    return marked(tries)


@attack('Methods and queries besides those of the messages', 'direct')
def methods():
    tries = [(method, lambda m, method=method: request('/v1/messages', hello_with(m), method=method)) for method in ('PUT', 'DELETE', 'PATCH', 'OPTIONS', 'GET')]
    tries += [
        ('POST to the list of models', lambda m: request('/v1/models', hello_with(m))),
        ('DELETE of a file', lambda m: request(f'/v1/files/{m}', '', method='DELETE')),
        ('GET of a file', lambda m: request(f'/v1/files/{m}/content', '', method='GET')),
        ('CONNECT', lambda m: request(f'forbidden.example.com:443', m, method='CONNECT')),
        ('a path in the query', lambda m: request(f'/v1/messages?x=/../files/{m}', hello_with('x'))),
        ('a fragment', lambda m: request(f'/v1/messages?#/../{m}', hello_with('x'))),
        ('a line end in the query', lambda m: request(f'/v1/messages?a=%0d%0aX:{m}', hello_with('x'))),
    ]
    return marked(tries)


@attack("Tools that run at the model's service", 'direct')
def server_tools():
    kinds = ('web_search_20250305', 'web_search_20260209', 'web_fetch_20250910', 'code_execution_20250522', 'code_execution_20250825', 'mcp_toolset', 'WEB_SEARCH_20250305', 'web_search', 'url_fetch_20300101', ' custom', 'custom ', 'bash', 'bash_x', 'advisor_20260301')
    tries = [(kind, lambda m, kind=kind: messages({**PLAIN, 'messages': [], 'tools': [{'type': kind, 'name': m}]})) for kind in kinds]
    search = '{"type":"web_search_20250305","name":"web_search","allowed_domains":["MARK"]}'
    tries += [
        ('behind an allowed one', lambda m: messages({**PLAIN, 'messages': [], 'tools': [{'name': 'mine', 'input_schema': {'type': 'object'}}, {'type': 'web_search_20250305', 'name': m}]})),
        ('as an object', lambda m: messages({**PLAIN, 'messages': [], 'tools': {'0': {'type': 'web_search_20250305', 'name': m}}})),
        ('a key that stands twice, the first one hot', lambda m: messages('{"tools":[' + search.replace('MARK', m) + '],"model":"x","max_tokens":1,"messages":[],"tools":[]}')),
        ('a key that stands twice, the second one hot', lambda m: messages('{"tools":[],"model":"x","max_tokens":1,"messages":[],"tools":[' + search.replace('MARK', m) + ']}')),
        ('an escaped key', lambda m: messages('{"model":"x","max_tokens":1,"messages":[],"to\\u006fls":[' + search.replace('MARK', m) + ']}')),
        ('a type that stands twice', lambda m: messages('{"model":"x","max_tokens":1,"messages":[],"tools":[{"type":"custom","name":"' + m + '","type":"web_search_20250305"}]}')),
        ('behind a second document', lambda m: messages('{"model":"x","messages":[]}\n{"tools":[' + search.replace('MARK', m) + ']}')),
        ('in a comment', lambda m: messages('{"model":"x","messages":[]/*,"tools":[' + search.replace('MARK', m) + ']*/}')),
        ('behind a byte order mark', lambda m: messages(b'\xef\xbb\xbf' + json.dumps({**PLAIN, 'messages': [], 'tools': [{'type': 'web_search_20250305', 'name': m}]}).encode())),
        ('in the prototype', lambda m: messages('{"model":"x","max_tokens":1,"messages":[],"__proto__":{"tools":[' + search.replace('MARK', m) + ']},"tools":[' + search.replace('MARK', m) + ']}')),
    ]
    return marked(tries)


@attack('Servers, containers and batches that the service would reach', 'direct')
def service_reach():
    return marked([
        ('MCP servers', lambda m: messages({**PLAIN, 'messages': [], 'mcp_servers': [{'type': 'url', 'url': f'https://{m}.example.com', 'name': 'x'}]})),
        ('MCP servers as an object', lambda m: messages({**PLAIN, 'messages': [], 'mcp_servers': {'url': f'https://{m}.example.com'}})),
        ('a container', lambda m: messages({**PLAIN, 'messages': [], 'container': m})),
        ('a container with skills', lambda m: messages({**PLAIN, 'messages': [], 'container': {'skills': [{'skill_id': m}]}})),
        ('a list of requests', lambda m: messages([hello_with(m)])),
        ('no object', lambda m: messages(json.dumps(m))),
    ])


@attack('Contents that the service would fetch', 'direct')
def fetched():
    def holds(*blocks):
        return {**PLAIN, 'messages': [{'role': 'user', 'content': list(blocks)}]}

    def url(m, kind='image'):
        return {'type': kind, 'source': {'type': 'url', 'url': f'https://{m}.example.com/x.png'}}

    return marked([
        ('an image', lambda m: messages(holds(url(m)))),
        ('a document', lambda m: messages(holds(url(m, 'document')))),
        ('a file', lambda m: messages(holds({'type': 'document', 'source': {'type': 'file', 'file_id': m}}))),
        ('an upload to a container', lambda m: messages(holds({'type': 'container_upload', 'file_id': m}))),
        ('in the result of a tool', lambda m: messages(holds({'type': 'tool_result', 'tool_use_id': 'x', 'content': [url(m)]}))),
        ('in a document of blocks', lambda m: messages(holds({'type': 'document', 'source': {'type': 'content', 'content': [url(m)]}}))),
        ('in the system prompt', lambda m: messages({**PLAIN, 'messages': [], 'system': [url(m, 'document')]})),
        ('in an earlier answer', lambda m: messages({**PLAIN, 'messages': [{'role': 'assistant', 'content': [url(m)]}]})),
        ('a type that stands twice', lambda m: messages('{"model":"x","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","type":"url","url":"https://' + m + '.example.com"}}]}]}')),
        ('to be counted', lambda m: request('/v1/messages/count_tokens', holds(url(m)))),
    ])


@attack('Bodies that hide what they hold', 'direct')
def hidden():
    import gzip

    def search(m):
        return json.dumps({**PLAIN, 'messages': [], 'tools': [{'type': 'web_search_20250305', 'name': m}]}).encode()

    def stored(data):
        # Not compressed, so that the mark can be found in it.
        return gzip.compress(data, 0)

    return marked([
        ('gzip', lambda m: messages(stored(search(m)), more='Content-Encoding: gzip\r\n')),
        ('gzip that says nothing', lambda m: messages(stored(search(m)))),
        ('another encoding', lambda m: messages(search(m), more='Content-Encoding: x-none\r\n')),
        ('in chunks', lambda m: request('/v1/messages', f'{len(search(m)):x}\r\n'.encode() + search(m) + b'\r\n0\r\n\r\n', more='Transfer-Encoding: chunked\r\n', length=False)),
        ('a form', lambda m: request('/v1/messages', f'tools={m}'.encode(), more='X-Type: form\r\n')),
        ('no body', lambda m: request('/v1/messages', b'', more=f'X-Mine: {m}\r\n')),
        ('longer than any', lambda m: request('/v1/messages', b'{"x":"' + b'y' * (34 << 20) + m.encode() + b'"}')),
    ])


@attack('A second request hidden in the first one to the model (smuggling)', 'direct')
def smuggling():
    def inner(m):
        return request(f'/v1/files/{m}', b'')

    def post(more, body):
        return request('/v1/messages', body, more=more, length=False)

    return marked([
        ('pipelined', lambda m: messages(hello_with('x')) + inner(m)),
        ('both lengths', lambda m: post(f'Content-Length: {len(inner(m)) + 5}\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n' + inner(m))),
        ('two lengths', lambda m: post(f'Content-Length: 2\r\nContent-Length: {len(inner(m)) + 2}\r\n', b'{}' + inner(m))),
        ('an odd coding', lambda m: post('Transfer-Encoding: xchunked\r\n', b'0\r\n\r\n' + inner(m))),
        ('a folded coding', lambda m: post('Transfer-Encoding:\r\n chunked\r\n', b'0\r\n\r\n' + inner(m))),
        ('a line end in a header', lambda m: messages(hello_with('x'), more=f'X-App: a\nX-Evil: {m}\r\n')),
        ('an upgrade', lambda m: messages(hello_with('x'), more=f'Connection: Upgrade\r\nUpgrade: {m}\r\n')),
        ('a trailer', lambda m: request('/v1/messages', b'2\r\n{}\r\n0\r\nX-Mine: ' + m.encode() + b'\r\n\r\n', more='Transfer-Encoding: chunked\r\nTrailer: X-Mine\r\n', length=False)),
    ])
