# Ways out of the container itself. Worlds: `plain` is root as an engine makes it by default, without its seccomp
# profile; `admin` has every capability and path; `devices` devices of the host's; `hostpid` besides that the host's processes; `beside` sees
# the processes of a gateway; `shared` may write into the volume that is shared with one.
# What changes something of the machine's is only opened, or called with arguments that are refused after the
# permission was checked.
NEWUSER, NEWNS, NEWNET, NEWPID = 0x10000000, 0x20000, 0x40000000, 0x20000000


def mount(kind, options=b'', flags=0, source=None, target=None):
    target = target or f'/tmp/mount-{os.getpid()}-{kind.decode()}'
    os.makedirs(target, exist_ok=True)
    ctypes.set_errno(0)
    checked(libc.mount(source or kind, target.encode(), kind, flags, options))
    return target


@attack('Mounting file systems of every kind', 'admin')
def mounts():
    got = []
    for kind, options in ((b'tmpfs', b''), (b'proc', b''), (b'sysfs', b''), (b'devpts', b''), (b'mqueue', b''), (b'cgroup', b'memory'), (b'cgroup2', b''), (b'overlay', b'lowerdir=/usr:/etc'), (b'debugfs', b''), (b'securityfs', b''), (b'bpf', b''), (b'binfmt_misc', b'')):
        try:
            mount(kind, options)
            got.append(kind.decode())
        except OSError:
            pass
    return ' '.join(got)


@attack('Mounting what is there a second time, or writable', 'admin')
def binds():
    got = []
    for target, flags in (('/run/sallyport', 0x1020), ('/sys', 0x1020), ('/proc/sys', 0x1020), ('/', 0x1000), ('/etc', 0x1000)):
        try:
            ctypes.set_errno(0)
            if flags == 0x1000:
                mount(b'none', flags=flags, source=target.encode())
            else:
                checked(libc.mount(b'none', target.encode(), None, flags, None))
            got.append(target)
        except OSError:
            pass
    return ' '.join(got)


@attack('Mounting by the newer system calls', 'admin')
def new_mounts():
    got = []
    try:
        os.close(syscall(numbered('fsopen'), b'tmpfs', 0))
        got.append('fsopen')
    except OSError:
        pass
    try:
        os.close(syscall(numbered('open_tree'), -100, b'/', 1))
        got.append('open_tree')
    except OSError:
        pass
    return ' '.join(got)


@attack('A user namespace, in which one is root (unshare)', 'plain')
def unshare_user():
    syscall(numbered('unshare'), NEWUSER)
    return 'root of a namespace of its own'


@attack('A user namespace by clone', 'plain')
def clone_user():
    pid = syscall(numbered('clone'), ctypes.c_ulong(NEWUSER | 17), 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return f'process {pid}'


@attack('A user namespace by clone3', 'plain')
def clone3_user():
    arguments = struct.pack('11Q', NEWUSER, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
    pid = syscall(numbered('clone3'), arguments, ctypes.c_size_t(len(arguments)))
    if pid == 0:
        os._exit(0)
    return f'process {pid}'


@attack('Other namespaces', 'admin')
def unshare_others():
    got = []
    for name, flag in (('mount', NEWNS), ('network', NEWNET), ('process', NEWPID), ('cgroup', 0x2000000), ('uts', 0x4000000), ('ipc', 0x8000000), ('time', 0x80)):
        try:
            syscall(numbered('unshare'), flag)
            got.append(name)
        except OSError:
            pass
    return ' '.join(got)


@attack('Joining the namespaces of any other process', 'hostpid')
def join_namespaces():
    for pid in filter(str.isdigit, os.listdir('/proc')):
        for name in ('net', 'ipc', 'uts', 'mnt'):
            try:
                if os.readlink(f'/proc/{pid}/ns/{name}') == os.readlink(f'/proc/self/ns/{name}'):
                    continue
                syscall(numbered('setns'), os.open(f'/proc/{pid}/ns/{name}', os.O_RDONLY), 0)
                return f'{name} of process {pid}'
            except OSError:
                pass


@attack('A namespace of its own joined again', 'admin')
def rejoin():
    syscall(numbered('setns'), os.open('/proc/1/ns/net', os.O_RDONLY), NEWNET)
    return 'network of process 1'


@attack('Another root directory (chroot, pivot_root)', 'plain')
def roots():
    got = []
    for name, call in (('chroot', lambda: os.chroot('/tmp')), ('pivot_root', lambda: syscall(numbered('pivot_root'), b'/', b'/'))):
        try:
            call()
            got.append(name)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EBUSY):
                got.append(f'{name} is permitted')
    return ' '.join(got)


@attack("The host's files by /proc/PID/root, cwd and fd", 'hostpid')
def process_roots():
    for pid in filter(str.isdigit, os.listdir('/proc')):
        for way in (f'/proc/{pid}/root', f'/proc/{pid}/cwd/../../../../../../../..'):
            try:
                with open(way + ARGS['hostFile']) as file:
                    return f'{way}: {file.read(100)}'
            except OSError:
                pass


@attack("A process of the host's, seen and signalled", 'hostpid')
def host_process():
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline') as file:
                if file.read().startswith(ARGS['hostMark']):
                    os.kill(int(pid), 0)
                    return f'process {pid}'
        except OSError:
            pass


@attack('Tracing a process of the gateway', 'beside')
def trace_gateway():
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline') as file:
                words = file.read().split('\0')
            if '/opt/sallyport/gateway.js' not in words or 'node' not in words[0]:
                continue
            syscall(numbered('ptrace'), 16, int(pid), 0, 0)
            os.waitpid(int(pid), 0x40000000)
            syscall(numbered('ptrace'), 17, int(pid), 0, 0)
            return f'process {pid}'
        except OSError:
            pass


@attack('Device files, made', 'plain')
def make_device():
    got = []
    for name, mode, major, minor in (('null', 0o20666, 1, 3), ('mem', 0o20600, 1, 1), ('disk', 0o60600, 8, 0)):
        try:
            os.mknod(f'/tmp/made-{name}-{os.getpid()}', mode, os.makedev(major, minor))
            got.append(name)
        except OSError:
            pass
    return ' '.join(got)


@attack('Devices of the kernel and disks of the machine', 'devices')
def devices():
    with open('/proc/partitions') as table:
        disks = [line.split() for line in table.read().splitlines()[2:]]
    listed = [(name, 0o60600, int(major), int(minor)) for major, minor, _, name in disks[:8]]
    got = []
    for name, mode, major, minor in (*listed, ('loop0', 0o60600, 7, 0), *((name, 0o20600, major, minor) for name, major, minor in (('mem', 1, 1), ('kmem', 1, 2), ('port', 1, 4), ('kmsg', 1, 11), ('fuse', 10, 229), ('kvm', 10, 232), ('loop-control', 10, 237), ('btrfs-control', 10, 234), ('vhost-net', 10, 238), ('userfaultfd', 10, 126), ('snapshot', 10, 231), ('tty0', 4, 0), ('console', 5, 1)))):
        for path in (f'/dev/{name}', f'/tmp/{name}-{os.getpid()}'):
            try:
                if not os.path.exists(path):
                    os.mknod(path, mode, os.makedev(major, minor))
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                got.append(name)
                break
            except OSError:
                pass
    return ' '.join(got)


@attack("A setuid program that has its owner's rights", 'plain')
def setuid():
    import stat, subprocess
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(1000)
        os.setuid(1000)
    got = []
    for folder in ('/usr/bin', '/usr/sbin', '/usr/lib/openssh', '/usr/local/bin', '/usr/lib'):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            if not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_ISUID or status.st_uid != 0:
                continue
            child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.1)
            try:
                with open(f'/proc/{child.pid}/status') as file:
                    effective = [line.split()[2] for line in file if line.startswith('Uid:')]
                if effective == ['0']:
                    got.append(name)
            except OSError:
                pass
            child.kill()
    return ' '.join(got)


@attack('Capabilities, of any set', 'plain')
def capabilities():
    with open('/proc/self/status') as file:
        sets = [line.split() for line in file if line.startswith('Cap')]
    return ' '.join(f'{name}{value}' for name, value in sets if int(value, 16) != 0)


@attack('Another user', 'plain')
def other_user():
    os.setgid(1001)
    os.setuid(1001)
    return f'user {os.getuid()}'


@attack('Files of other users', 'plain')
def other_files():
    got = []
    try:
        os.chown('/etc/hostname', 1000, 1000)
        got.append('chown')
    except OSError:
        pass
    path = f'/tmp/own-{os.getpid()}'
    open(path, 'w').close()
    try:
        os.chown(path, 1001, 1001)
        got.append('a file given away')
    except OSError:
        pass
    return ' '.join(got)


@attack("The kernel's settings in /proc/sys", 'admin')
def kernel_settings():
    got = []
    for name in ('kernel/core_pattern', 'kernel/modprobe', 'kernel/hotplug', 'vm/overcommit_memory', 'kernel/pid_max', 'fs/file-max', 'net/ipv4/ip_forward'):
        try:
            with open(f'/proc/sys/{name}', 'r+') as file:
                value = file.read()
                if name in ('kernel/core_pattern', 'net/ipv4/ip_forward'):
                    file.seek(0)
                    file.write(value)
                got.append(name)
        except OSError:
            pass
    return ' '.join(got)


@attack('Triggers and secrets of the kernel in /proc and /sys', 'admin')
def kernel_paths():
    got = []
    for path, mode in (('/proc/sysrq-trigger', os.O_WRONLY), ('/sys/power/state', os.O_WRONLY), ('/sys/kernel/uevent_helper', os.O_WRONLY), ('/sys/kernel/mm/transparent_hugepage/enabled', os.O_WRONLY), ('/proc/bus/pci', os.O_WRONLY), ('/proc/irq/default_smp_affinity', os.O_WRONLY)):
        try:
            os.close(os.open(path, mode))
            got.append(path)
        except OSError:
            pass
    for path in ('/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/sched_debug', '/sys/firmware/memmap/0/start'):
        try:
            with open(path, 'rb', buffering=0) as file:
                if file.read(16):
                    got.append(path)
        except OSError:
            pass
    return ' '.join(got)


@attack('Limits of the own control group', 'admin')
def cgroup_limits():
    got = []
    try:
        ctypes.set_errno(0)
        checked(libc.mount(b'none', b'/sys/fs/cgroup', None, 0x1020, None))
    except OSError:
        pass
    for top, folders, files in os.walk('/sys/fs/cgroup'):
        ctypes.set_errno(0)
        libc.mount(b'none', top.encode(), None, 0x1020, None) if top.count('/') == 4 else None
        for name in ('pids.max', 'memory.max', 'memory.limit_in_bytes', 'cgroup.procs', 'release_agent', 'cpu.max', 'cpu.cfs_quota_us', 'devices.allow'):
            if name in files:
                try:
                    os.close(os.open(os.path.join(top, name), os.O_WRONLY))
                    got.append(name)
                except OSError:
                    pass
        if len(got) > 5:
            break
    return ' '.join(got)


@attack('A control group mounted for its release agent', 'admin')
def release_agent():
    for kind, options in ((b'cgroup', b'rdma'), (b'cgroup', b'memory'), (b'cgroup', b'pids'), (b'cgroup', b'freezer'), (b'cgroup2', b'')):
        try:
            top = mount(kind, options, target=f'/tmp/cg-{os.getpid()}-{options.decode()}')
        except OSError:
            continue
        for name in ('release_agent', 'cgroup.procs'):
            try:
                os.close(os.open(os.path.join(top, name), os.O_WRONLY))
                return f'{name} of {options.decode() or "cgroup2"}'
            except OSError:
                pass


@attack('Keyrings, which containers of one user share', 'plain')
def keyring():
    key = syscall(numbered('add_key'), b'user', b'sallyport-attack', b'leak', 4, -4)
    try:
        # Taken away again: the keyring is the user's, and outlives the container.
        syscall(numbered('keyctl'), 8, -4, -3)
        syscall(numbered('keyctl'), 3, key)
    except OSError:
        pass
    return f'key {key}'


@attack('Programs for the kernel (bpf)', 'admin')
def bpf():
    attributes = struct.pack('IIII', 2, 4, 8, 1) + b'\0' * 112
    os.close(syscall(numbered('bpf'), 0, attributes, len(attributes)))
    return 'a map was made'


@attack('Counters of the processor (perf)', 'admin')
def perf():
    attributes = struct.pack('IIQ', 1, 112, 0) + b'\0' * 96
    os.close(syscall(numbered('perf_event_open'), attributes, -1, 0, -1, 0))
    return 'a counter of the whole machine'


@attack("Calls that only the machine's administrator has", 'admin')
def administration():
    calls = [('init_module', (None, 0, b'')), ('kexec_load', (0, 0, None, 0xFFFF)), ('swapon', (b'/nowhere', 0)), ('acct', (b'/nowhere',)), ('reboot', (1, 2, 3, None)), ('syslog', (10, None, 0)), ('userfaultfd', (0x800,))]
    if os.uname().machine == 'x86_64':
        calls.append(('iopl', (3,)))
    got = []
    for name, arguments in calls:
        try:
            syscall(numbered(name), *arguments)
            got.append(name)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EACCES):
                got.append(f'{name} ({error.strerror})')
    try:
        os.nice(-5)
        got.append('nice')
    except OSError:
        pass
    return ', '.join(got)


@attack('Files by their handle, past every path (open_by_handle_at)', 'admin')
def handles():
    for path in ('/etc/hosts', '/etc/resolv.conf', '/run/sallyport', '/'):
        handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + b'\0' * 128)
        try:
            syscall(numbered('name_to_handle_at'), -100, path.encode(), handle, ctypes.byref(ctypes.c_int()), 0)
            place = os.open(path, os.O_RDONLY)
            opened = syscall(numbered('open_by_handle_at'), place, handle, os.O_RDONLY)
            return f'{path} as {opened}'
        except OSError:
            pass


@attack('Writing into the volume that is shared with the gateway', 'shared')
def shared_volume():
    got = []
    for name, call in (
        ('file', lambda: open('/run/sallyport/mine', 'w').close()),
        ('symlink', lambda: os.symlink('/etc/passwd', '/run/sallyport/link')),
        ('hard link', lambda: os.link('/run/sallyport/mine', '/run/sallyport/second')),
        ('folder', lambda: os.mkdir('/run/sallyport/folder')),
        ('removed socket', lambda: os.unlink('/run/sallyport/model.sock')),
        ('replaced socket', lambda: os.rename('/run/sallyport/proxy.sock', '/run/sallyport/other.sock')),
        ('mode', lambda: os.chmod('/run/sallyport', 0o777)),
    ):
        try:
            call()
            got.append(name)
        except OSError:
            pass
    return ', '.join(got)


@attack('A file system that is not the own one', 'host')
def foreign_mounts():
    with open('/proc/self/mountinfo') as table:
        rows = [line.split() for line in table]
    # What every engine mounts, and the one volume.
    usual = ('/', '/run/sallyport', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/run/.containerenv', '/run/secrets')
    got = []
    for row in rows:
        target, kind = row[4], row[row.index('-') + 1]
        if target in usual or target.split('/')[1] in ('proc', 'sys', 'dev') or kind == 'tmpfs':
            continue
        got.append(target)
    return ' '.join(got)
