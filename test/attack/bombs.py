# Uses up what a machine has. Each bomb stops by itself far above what a sandbox may have, so that the weak container
# (the world `large`) shows that the bomb goes off. What it got is a number; it got through when it reached its goal.
import resource, subprocess


@attack('A thousand processes', 'large')
def forks():
    children = []
    try:
        for _ in range(1000):
            pid = os.fork()
            if pid == 0:
                # Its own alarm is not inherited.
                time.sleep(10)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if len(children) < 1000:
        raise OSError(f'{len(children)} processes')
    return '1000 processes'


@attack('A thousand zombies', 'large')
def zombies():
    children = []
    try:
        for _ in range(1000):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.waitpid(pid, 0)
    if len(children) < 1000:
        raise OSError(f'{len(children)} zombies')
    return '1000 zombies'


@attack('A thousand threads', 'large')
def threads():
    import threading
    threading.stack_size(65536)
    over = threading.Event()
    started = 0
    try:
        for _ in range(1000):
            threading.Thread(target=over.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    over.set()
    if started < 1000:
        raise OSError(f'{started} threads')
    return '1000 threads'


@attack('Six hundred mebibytes of memory', 'large')
def memory():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        # The kernel is to take this one, and not the agent, so that the others can be tried too.
        with open('/proc/self/oom_score_adj', 'w') as file:
            file.write('1000')
        blocks = []
        for _ in range(600):
            blocks.append(b'\1' * (1 << 20))
        os.write(write, b'done')
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    if os.read(read, 4) != b'done':
        raise OSError(f'ended with status {status}')
    return '600 MiB'


@attack('Six hundred mebibytes in /dev/shm and other file systems in memory', 'large')
def shared_memory():
    written, made = 0, []
    with open('/proc/mounts') as table:
        places = [line.split()[1] for line in table if line.split()[2] == 'tmpfs']
    try:
        for place in places:
            if not os.access(place, os.W_OK):
                continue
            path = os.path.join(place, f'fill-{os.getpid()}')
            try:
                with open(path, 'wb', buffering=0) as file:
                    made.append(path)
                    while written < 600 << 20:
                        file.write(b'\1' * (1 << 20))
                        written += 1 << 20
            except OSError:
                pass
    finally:
        for path in made:
            os.unlink(path)
    if written < 600 << 20:
        raise OSError(f'{written >> 20} MiB')
    return f'{written >> 20} MiB'


@attack('Eighteen thousand open files', 'large')
def open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (18100, max(hard, 18100)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = 0
    try:
        while count < 18000:
            os.dup(0)
            count += 1
    except OSError:
        raise OSError(f'{count} files')
    return '18000 files'


@attack('One file larger than the disk limit', 'large')
def one_file():
    path = f'{ARGS["place"]}/large-{os.getpid()}'
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    got = []
    with open(path, 'wb') as file:
        for name, call in (('sparse', lambda: os.ftruncate(file.fileno(), 1 << 30)), ('allocated', lambda: os.posix_fallocate(file.fileno(), 0, 1 << 30))):
            try:
                call()
                got.append(name)
            except OSError:
                pass
            os.ftruncate(file.fileno(), 0)
    os.unlink(path)
    return ' '.join(got)
