# A proxy that passes everything on, to whatever anybody asks for: what a gateway must not be. And a second one that leads
# to a model's service without a look at anything. The arguments are their sockets.
import os, re, socket, sys, threading, time


def pipe(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    try:
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def dial(target):
    target = re.sub(r'[\x00-\x20]', '', target.split('@')[-1])
    match = re.match(r'^(?:\[([^\]]+)\]|([^:]*)|(.*?))(?::(\d+))?$', target)
    host = match[1] or match[2] or match[3]
    return socket.create_connection((host.split('%')[0].rstrip('.'), int(match[4] or 80)), 3)


def serve(client):
    head = b''
    while not re.search(rb'\r?\n\r?\n', head):
        data = client.recv(65536)
        if not data:
            return client.close()
        head += data
    words = head.decode('latin1').replace('\0', '').split(' ')
    if words[0] == 'CONNECT':
        try:
            server = dial(words[1])
        except OSError:
            return client.close()
        client.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
        server.sendall(re.split(rb'\r?\n\r?\n', head, maxsplit=1)[1])
    else:
        host = re.search(r'^[^\r\n]*?://([^/?#\s]*)', head.decode('latin1'), re.S) or re.search(r'\nHost: *([^\r\n]*)', head.decode('latin1'), re.I)
        try:
            server = dial(host[1])
        except OSError:
            return client.close()
        server.sendall(head)
        if b'/redirect/' in head:
            # It follows, too.
            place = re.search(rb'Location: http://([^/\s]+)(\S+)', server.recv(65536))
            server = dial(place[1].decode())
            server.sendall(b'GET ' + place[2] + b' HTTP/1.1\r\nHost: ' + place[1] + b'\r\n\r\n')
    threading.Thread(target=pipe, args=(server, client), daemon=True).start()
    pipe(client, server)


def guarded(work):
    def go(client):
        try:
            work(client)
        except Exception:
            client.close()

    return go


def to_model(client):
    server = socket.create_connection(('model.example.com', 8000), 3)
    threading.Thread(target=pipe, args=(server, client), daemon=True).start()
    pipe(client, server)


def listen(path, serve_one):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1000)
    os.chmod(path, 0o666)
    while True:
        try:
            connection, _ = listener.accept()
            threading.Thread(target=guarded(serve_one), args=(connection,), daemon=True).start()
        except (OSError, RuntimeError):
            # No file or thread is left just now.
            time.sleep(0.1)


threading.Thread(target=listen, args=(sys.argv[2], to_model), daemon=True).start()
threading.Timer(0.3, lambda: print('ready', flush=True)).start()
listen(sys.argv[1], serve)
