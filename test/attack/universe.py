# A network of its own, made of a loopback: every address answers, every name resolves, and all that arrives anywhere
# is written down. Gateways join it instead of a real network. Its argument: addresses by name.
import json, os, re, socket, struct, sys, threading, time

TABLE = json.loads(sys.argv[1])
ELSEWHERE = ['203.0.113.9']
arrived = []
# Of a connection that much is kept as it came, in bytes.
WHOLE = 1 << 17
MARK = re.compile(rb'mark[0-9a-f]{16}')


def local_route(family):
    body = struct.pack('BBBBBBBBI', family, 0, 0, 0, 255, 3, 254 if family == socket.AF_INET else 0, 2, 0)
    body += struct.pack('HHI', 8, 4, socket.if_nametoindex('lo'))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        netlink.send(struct.pack('IHHII', 16 + len(body), 24, 0x405, 1, 0) + body)
        code = -struct.unpack('i', netlink.recv(512)[16:20])[0]
        if code:
            raise OSError(code, os.strerror(code))


def names():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('', 53))
    while True:
        # Whatever an attacker asks for, and whoever does not wait for the answer: the next one is answered.
        try:
            resolve(server)
        except (OSError, IndexError) as error:
            print('a name was not resolved:', error, file=sys.stderr, flush=True)


def resolve(server):
    query, sender = server.recvfrom(512)
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode('latin1'))
        at += 1 + query[at]
    kind = query[at + 1:at + 3]
    question = query[12:at + 5]
    addresses = TABLE.get('.'.join(labels).lower(), ELSEWHERE)
    family = {b'\0\1': socket.AF_INET, b'\0\x1c': socket.AF_INET6}.get(kind)
    answers = [socket.inet_pton(family, one) for one in addresses if family and (':' in one) == (family == socket.AF_INET6)]
    records = b''.join(b'\xc0\x0c' + kind + b'\0\1\0\0\0\0' + struct.pack('!H', len(one)) + one for one in answers)
    server.sendto(query[:2] + b'\x81\x80\0\1' + struct.pack('!H', len(answers)) + b'\0\0\0\0' + question + records, sender)


def answer(head):
    wanted = re.search(rb'/seen/(\S+)', head)
    if wanted:
        everything = b'\n'.join(b''.join(one) for one in list(arrived))
        text = b'(' + b','.join(mark for mark in wanted[1].split(b',') if mark in everything) + b')'
    elif b'/redirect/' in head:
        name = re.search(rb'/redirect/(\S+)', head)[1]
        return b'HTTP/1.1 302 Found\r\nLocation: http://forbidden.example.com/mark' + name[::-1] + b'\r\nContent-Length: 0\r\n\r\n'
    else:
        text = b'BAIT'
    return b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n' % len(text) + text


def serve(connection):
    parts, size, pending = [], 0, b''
    connection.settimeout(20)
    try:
        while True:
            data = connection.recv(65536)
            if not data:
                break
            before, pending = pending[-len('mark') - 16:], pending + data
            if b'/seen/' not in pending:
                if not parts:
                    arrived.append(parts)
                # Of what is long the marks are enough: whoever asks what arrived has all of it searched.
                parts.extend([data] if size < WHOLE else MARK.findall(before + data))
                size += len(data)
            while b'\r\n\r\n' in pending:
                head, pending = pending.split(b'\r\n\r\n', 1)
                connection.sendall(answer(head))
            if len(pending) > WHOLE:
                pending = pending[-20:]
    except OSError:
        pass
    connection.close()


def listen(port):
    server = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1000)
    while True:
        try:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()
        except (OSError, RuntimeError) as error:
            # No file or thread is left just now.
            print('a connection was not taken:', error, file=sys.stderr, flush=True)
            time.sleep(0.1)


local_route(socket.AF_INET)
local_route(socket.AF_INET6)
threading.Thread(target=names, daemon=True).start()
for port in (22, 25, 80, 81, 443, 2375, 3128, 6379, 8000, 8080, 8443):
    threading.Thread(target=listen, args=(port,), daemon=True).start()
time.sleep(0.3)
print('ready', flush=True)
time.sleep(100000)
