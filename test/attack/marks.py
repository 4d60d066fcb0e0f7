# For attacks on a gateway: sends what carries a mark over a unix socket, and asks afterwards which marks arrived anywhere.
import secrets

END = '\r\n\r\n'


def raw(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(4)
    connection.connect(path)
    return connection


def read_for(connection, seconds):
    got = b''
    until = time.time() + seconds
    try:
        while time.time() < until:
            connection.settimeout(max(0.05, until - time.time()))
            data = connection.recv(65536)
            if not data:
                break
            got += data
    except OSError:
        pass
    return got


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode('latin1')


def send(first, second=b'', wait=0.4):
    """Sends one thing, and another one after the first answer."""
    with raw(ARGS['socket']) as connection:
        try:
            connection.sendall(as_bytes(first))
            got = b''
            if second:
                while b'\r\n\r\n' not in got:
                    data = connection.recv(65536)
                    if not data:
                        return got
                    got += data
                connection.sendall(as_bytes(second))
            return got + read_for(connection, wait)
        except OSError:
            return b''


def arrived(marks):
    """Those that arrived anywhere."""
    for patience in range(5):
        try:
            return ask(marks)
        except (OSError, RuntimeError):
            # Whoever writes it all down may have a long queue just now.
            time.sleep(1 + patience)
    return ask(marks)


def ask(marks):
    with raw(ARGS['carelessSocket']) as connection:
        # Not an attack: its time runs out in failure alone.
        connection.settimeout(20)
        connection.sendall(f'GET http://seen.example.com:81/seen/{",".join(marks)} HTTP/1.1\r\nHost: seen.example.com:81{END}'.encode())
        got = b''
        while b'(' not in got or b')' not in got:
            data = connection.recv(65536)
            if not data:
                raise RuntimeError('nobody says what arrived')
            got += data
        return set(got.split(b'(')[1].split(b')')[0].decode().split(','))


def marked(tries):
    """
    `tries`: what is sent by name, made with a mark. Returns the names of those whose mark arrived. Without a defence
    each of them has to.
    """
    from concurrent.futures import ThreadPoolExecutor

    def one(make, mark):
        made = make(mark)
        return send(*made) if isinstance(made, tuple) else send(made)

    marks = {'mark' + secrets.token_hex(8): entry for entry in tries}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: one(pair[1][1], pair[0]), marks.items()))
    time.sleep(0.3)
    came = arrived(marks)
    missing = [name for mark, (name, _) in marks.items() if mark not in came]
    if ARGS.get('all') and missing:
        raise RuntimeError(f'these get through nowhere: {"; ".join(missing)}')
    return ', '.join(name for mark, (name, _) in marks.items() if mark in came)
