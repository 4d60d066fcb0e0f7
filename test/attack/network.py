# Ways out that need a network. Worlds: `everywhere` is a network in which every address answers, `bridge` an engine's
# ordinary network, `host` the host's own.
import ipaddress, random


def all_answers(results):
    return '; '.join(result for result in results if result)


def quiet(function, *args, **more):
    try:
        return function(*args, **more)
    except OSError:
        return None


@attack('TCP to public addresses, at ports of all kinds', 'everywhere')
def tcp_public():
    return all_answers(quiet(tcp, host, port, 1) for host in ('1.1.1.1', '93.184.216.34') for port in (22, 25, 53, 80, 443))


@attack('TCP to cloud metadata services', 'everywhere')
def metadata():
    return all_answers(quiet(tcp, host, 80, 1) for host in ('169.254.169.254', '169.254.170.2', '100.100.100.200', '192.0.0.192'))


@attack('TCP to the metadata service over IPv6', 'everywhere')
def metadata6():
    return all_answers(quiet(tcp, host, 80, 1, socket.AF_INET6) for host in ('fd00:ec2::254', 'fe80::a9fe:a9fe%lo', 'fd20:ce::254'))


@attack('TCP to public IPv6 addresses', 'everywhere')
def tcp6():
    return all_answers(quiet(tcp, host, 443, 1, socket.AF_INET6) for host in ('2606:4700:4700::1111', '2001:db8::1'))


@attack('IPv4 addresses written as IPv6', 'everywhere')
def mapped():
    return all_answers(quiet(tcp, host, 80, 1, socket.AF_INET6) for host in ('::ffff:1.1.1.1', '64:ff9b::1.1.1.1', '::ffff:169.254.169.254'))


@attack("TCP to the engines' bridge addresses", 'everywhere')
def bridges():
    return all_answers(quiet(tcp, host, port, 1) for host in ('172.17.0.1', '172.18.0.1', '10.88.0.1', '10.0.2.2', '192.168.65.2', '192.168.127.254') for port in (80, 2375, 2376))


@attack('UDP to a name server', 'everywhere')
def udp_dns():
    query = bytes.fromhex('5350010000010000000000000000020001')
    got = []
    for host in ('8.8.8.8', '127.0.0.11', '172.17.0.1', '10.88.0.1'):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1)
            try:
                sender.sendto(query, (host, 53))
                got.append(f'{host} answered {len(sender.recv(512))} bytes')
            except OSError:
                pass
    return '; '.join(got)


@attack('TCP to a name server', 'everywhere')
def tcp_dns():
    return all_answers(quiet(tcp, host, 53, 1) for host in ('8.8.8.8', '172.17.0.1', '10.88.0.1'))


@attack('A lookup by the system', 'everywhere')
def lookup():
    return socket.getaddrinfo(f'leak-{random.getrandbits(40):x}.example.com', 80)[0][4][0]


@attack('UDP to a public address, sent without an error', 'everywhere')
def udp_send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return f"{sender.sendto(b'leak', ('1.1.1.1', 443))} bytes left"


@attack('UDP by broadcast and by multicast', 'everywhere')
def udp_casts():
    got = []
    for host in ('255.255.255.255', '224.0.0.251', '239.255.255.250'):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            try:
                got.append(f"{sender.sendto(b'leak', (host, 1900))} bytes to {host}")
            except OSError:
                pass
    return '; '.join(got)


@attack('IPv6 multicast on every link but the loopback', 'bridge')
def multicast6():
    got = []
    for index, name in socket.if_nameindex():
        if name == 'lo':
            continue
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            try:
                got.append(f"{sender.sendto(b'leak', ('ff02::1', 5353, 0, index))} bytes on {name}")
            except OSError:
                # An engine without IPv6 still has the link, and ARP and IPv4 multicast on it.
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fourth:
                    fourth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack('4s4si', b'\0' * 4, b'\0' * 4, index))
                    got.append(f"{fourth.sendto(b'leak', ('224.0.0.251', 5353))} bytes on {name}")
    return '; '.join(got)


@attack('ICMP by a raw socket', 'everywhere')
def icmp():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(2)
        body = struct.pack('!BBHHH', 8, 0, 0, 1, 1)
        total = sum(struct.unpack('!4H', body))
        total = (total >> 16) + (total & 0xFFFF)
        raw.sendto(struct.pack('!BBHHH', 8, 0, ~total & 0xFFFF, 1, 1), ('1.1.1.1', 0))
        while True:
            answer, sender = raw.recvfrom(512)
            if answer[20] == 0:
                return f'echo from {sender[0]}'


@attack('ICMP by a ping socket', 'everywhere')
def ping():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as pinger:
        pinger.settimeout(2)
        pinger.sendto(struct.pack('!BBHHH', 8, 0, 0, 1, 1), ('1.1.1.1', 0))
        return f'echo from {pinger.recvfrom(512)[1][0]}'


@attack('A raw IP socket with a header of its own', 'everywhere')
def raw_ip():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        header = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 24, 1, 0, 64, 253, 0, socket.inet_aton('10.9.9.9'), socket.inet_aton('1.1.1.1'))
        return f"{raw.sendto(header + b'leak', ('1.1.1.1', 0))} bytes"


@attack('A packet socket', 'everywhere')
def packet():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as raw:
        raw.bind(('lo', 0))
        return 'reads every frame of the interface'


@attack('Transports besides TCP and UDP: multipath TCP, SCTP, DCCP, UDP-Lite', 'everywhere')
def transports():
    got = []
    for name, kind, protocol in (('MPTCP', 1, 262), ('SCTP', 1, 132), ('DCCP', 6, 33), ('UDP-Lite', 2, 136)):
        try:
            with socket.socket(socket.AF_INET, kind, protocol) as connection:
                connection.settimeout(1)
                try:
                    connection.connect(('1.1.1.1', 80))
                except ConnectionRefusedError:
                    pass
                got.append(name)
        except OSError:
            pass
    return ' '.join(got)


@attack('TCP Fast Open, which connects by sending', 'everywhere')
def fast_open():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
        sender.sendto(b'GET / HTTP/1.0\r\n\r\n', 0x20000000, ('1.1.1.1', 80))
        return f'{len(sender.recv(100))} bytes came back'


@attack('A socket to the hypervisor (AF_VSOCK)', 'everywhere')
def vsock():
    # Nothing is sent: that such a socket can be had is what counts, because no network mode covers it.
    try:
        with socket.socket(40, socket.SOCK_STREAM):
            return 'the socket can be made'
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT and ARGS.get('privilegedKernel'):
            raise Absent('no AF_VSOCK')
        raise


@attack('Sockets of rare families', 'everywhere')
def rare():
    got = []
    for name, family, kind, protocol in (('XDP', 44, 3, 0), ('ALG', 38, 5, 0), ('TIPC', 30, 4, 0), ('CAN', 29, 3, 1), ('BLUETOOTH', 31, 3, 1), ('RDS', 21, 5, 0), ('KCM', 41, 2, 0), ('QIPCRTR', 42, 2, 0), ('PPPOX', 24, 1, 0), ('NFC', 39, 3, 0)):
        try:
            socket.socket(family, kind, protocol).close()
            got.append(name)
        except OSError:
            pass
    # AF_ALG reaches the kernel's ciphers and nothing beyond them; it is named where it exists and is no way out.
    return ' '.join(name for name in got if name != 'ALG')


@attack('A change of the routes (netlink)', 'admin')
def netlink_route():
    index = socket.if_nametoindex('lo')
    attributes = struct.pack('HH4s', 8, 1, socket.inet_aton('198.51.100.0')) + struct.pack('HHI', 8, 4, index)
    body = struct.pack('BBBBBBBBI', socket.AF_INET, 24, 0, 0, 254, 3, 253, 1, 0) + attributes
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        netlink.send(struct.pack('IHHII', 16 + len(body), 24, 0x405, 1, 0) + body)
        code = -struct.unpack('i', netlink.recv(512)[16:20])[0]
        if code != 0:
            raise OSError(code, os.strerror(code))
        return 'a route was added'


@attack('A new network interface (netlink)', 'admin')
def netlink_link():
    kind = struct.pack('HH8s', 11, 1, b'bridge\0\0')
    nested = struct.pack('HH', 4 + len(kind) + 3 & ~3, 18) + kind + b'\0' * (-len(kind) % 4)
    body = struct.pack('BBHiII', 0, 0, 0, 0, 0, 0) + nested
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        netlink.send(struct.pack('IHHII', 16 + len(body), 16, 0x605, 1, 0) + body)
        code = -struct.unpack('i', netlink.recv(512)[16:20])[0]
        if code != 0:
            raise OSError(code, os.strerror(code))
        return 'an interface was added'


@attack('A tunnel device', 'admin')
def tun():
    import fcntl
    os.makedirs('/dev/net', exist_ok=True)
    if not os.path.exists('/dev/net/tun'):
        os.mknod('/dev/net/tun', 0o20600, os.makedev(10, 200))
    with open('/dev/net/tun', 'r+b', buffering=0) as device:
        fcntl.ioctl(device, 0x400454CA, struct.pack('16sH22x', b'tun7', 0x1001))
        return 'a tunnel was made'


@attack('io_uring, whose connections no seccomp rule for sockets sees', 'everywhere')
def io_uring():
    parameters = ctypes.create_string_buffer(120)
    try:
        ring = syscall(numbered('io_uring_setup'), ctypes.c_uint(4), parameters)
    except OSError as error:
        if error.errno == errno.ENOSYS and ARGS.get('privilegedKernel'):
            raise Absent('no io_uring')
        raise
    os.close(ring)
    return 'a ring was made'


@attack('An abstract unix socket of a neighbour', 'everywhere')
def abstract_neighbour():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect('\0sallyport-bait')
        return connection.recv(100).decode()


@attack("An abstract unix socket of the host's", 'host')
def abstract_host():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect('\0' + ARGS['hostAbstract'])
        return connection.recv(100).decode()


@attack('A service on all addresses of the host', 'bridge')
def host_port():
    return all_answers(quiet(tcp_read, host, ARGS['hostPort']) for host in ARGS['hostAddresses'])


@attack('The same service by the names that engines give the host', 'bridge')
def host_names():
    names = ('host.docker.internal', 'host.containers.internal', 'gateway.docker.internal', 'gateway.containers.internal', 'host.lima.internal')
    return all_answers(quiet(tcp_read, host, ARGS['hostPort']) for host in names)


def tcp_read(host, port):
    with socket.create_connection((host, port), 2) as connection:
        connection.settimeout(2)
        return f'{host}: {connection.recv(100).decode()}'


@attack("A service on the host's loopback", 'host')
def host_loopback():
    return tcp_read('127.0.0.1', ARGS['hostPort'])


@attack("Another task's gateway, by its address", 'bridge')
def other_gateway():
    return all_answers(quiet(tcp, host, port, 1) for host in ARGS['otherGateways'] for port in (80, 443, 3128, 8080))


@attack('Another container on the bridge, by its address', 'bridge')
def neighbour():
    return all_answers(quiet(tcp_read, host, 8099) for host in ARGS['neighbours'])


@attack('Every address of the neighbourhood that ARP knows', 'bridge')
def arp():
    with open('/proc/net/route') as table:
        routes = [line.split('\t') for line in table.read().splitlines()[1:]]
    return '; '.join(f'a route on {route[0]}' for route in routes if route[0] != 'lo')


@attack('An interface besides the loopback', 'bridge')
def interfaces():
    return ' '.join(name for _, name in socket.if_nameindex() if name not in ('lo', 'tunl0', 'sit0', 'gre0', 'gretap0', 'erspan0', 'ip_vti0', 'ip6_vti0', 'ip6tnl0', 'ip6gre0'))


@attack('A name written into /etc/hosts or /etc/resolv.conf that opens a way', 'everywhere')
def hosts_file():
    for path, line in (('/etc/hosts', '\n1.1.1.1 way-out.example.com\n'), ('/etc/resolv.conf', '\nnameserver 8.8.8.8\noptions timeout:1 attempts:1\n')):
        try:
            with open(path, 'a') as file:
                file.write(line)
        except OSError:
            pass
    return quiet(tcp, 'way-out.example.com', 80, 1) or socket.getaddrinfo('other.example.com', 80)[0][4][0]


@attack("An engine's socket", 'socket')
def engine_socket():
    got = []
    for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/podman/podman.sock', '/run/containerd/containerd.sock', '/run/crio/crio.sock', '/var/run/docker/containerd/containerd.sock', f'/run/user/{os.getuid()}/podman/podman.sock', f'/run/user/{os.getuid()}/docker.sock', '/proc/1/root/var/run/docker.sock', ARGS['engineSocket']):
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(path)
                connection.sendall(b'GET /_ping HTTP/1.0\r\n\r\n')
                got.append(f'{path}: {connection.recv(15).decode()}')
            except OSError:
                pass
    return '; '.join(got)


@attack('A unix socket of anybody else, anywhere in the file system', 'socket')
def any_socket():
    # The gateway's are there on purpose. Those that were made inside are listed in this network's table.
    with open('/proc/net/unix') as table:
        inside = {line.split()[-1] for line in table.read().splitlines()[1:]}
    inside |= {'/run/sallyport/model.sock', '/run/sallyport/proxy.sock'}
    got = []
    for top, folders, files in os.walk('/'):
        if top in ('/proc', '/sys', '/usr'):
            folders.clear()
            continue
        for path in (os.path.join(top, name) for name in files):
            try:
                if path in inside or (os.lstat(path).st_mode & 0o170000) != 0o140000:
                    continue
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(path)
                    got.append(path)
            except OSError:
                pass
    return ' '.join(got)
