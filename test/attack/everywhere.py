# A network in which every address answers, made of the loopback alone: no packet leaves the container.
import os, socket, struct, threading, time


def local_route(family, bits):
    index = socket.if_nametoindex('lo')
    body = struct.pack('BBBBBBBBI', family, 0, 0, 0, 255, 3, 254 if family == socket.AF_INET else 0, 2, 0)
    body += struct.pack('HHI', 8, 4, index)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        netlink.send(struct.pack('IHHII', 16 + len(body), 24, 0x405, 1, 0) + body)
        code = -struct.unpack('i', netlink.recv(512)[16:20])[0]
        if code:
            raise OSError(code, os.strerror(code))


def serve(server):
    while True:
        connection, _ = server.accept()
        try:
            connection.sendall(b'bait')
        except OSError:
            pass
        connection.close()


def dns(server):
    while True:
        query, sender = server.recvfrom(512)
        kind = query[-4:-2]
        answer = b'\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04' if kind == b'\0\1' else b''
        count = b'\0\1' if answer else b'\0\0'
        server.sendto(query[:2] + b'\x81\x80\0\1' + count + b'\0\0\0\0' + query[12:] + answer, sender)


for family in (socket.AF_INET, socket.AF_INET6):
    local_route(family, 0)
for port in (22, 25, 53, 80, 443, 2375, 2376):
    server = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve, args=(server,), daemon=True).start()
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(('', 53))
threading.Thread(target=dns, args=(names,), daemon=True).start()
abstract = socket.socket(socket.AF_UNIX)
abstract.bind('\0sallyport-bait')
abstract.listen()
threading.Thread(target=serve, args=(abstract,), daemon=True).start()
print('ready', flush=True)
time.sleep(100000)
