# Looks for a credential in every place that a process can read. Worlds: `careless` has it in its environment, its
# arguments and its files, as a container has that was given a key in the usual ways; `beside` sees the gateway's processes.
import base64, mmap, re

SECRET = ARGS['secret'].encode()
# As it is, and as a log or a cache might have it.
NEEDLES = [SECRET, base64.b64encode(SECRET)[4:-4], SECRET.hex().encode(), SECRET[::-1], SECRET.decode().encode('utf-16-le')]


def has(data):
    return any(needle in data for needle in NEEDLES)


def processes():
    # Not the searchers themselves: they know what they look for.
    own = os.getpgid(0)
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as file:
                if b'def run_one(' in file.read():
                    continue
        except OSError:
            pass
        yield pid


@attack('The environment of every process', 'careless')
def environments():
    if has('\n'.join(os.environ.values()).encode()):
        return 'own'
    for pid in processes():
        try:
            with open(f'/proc/{pid}/environ', 'rb') as file:
                if has(file.read()):
                    return f'process {pid}'
        except OSError:
            pass


@attack('The arguments of every process', 'careless')
def arguments():
    for pid in processes():
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as file:
                if has(file.read()):
                    return f'process {pid}'
        except OSError:
            pass


@attack('The memory of every process', 'careless beside')
def memories():
    for pid in processes():
        try:
            with open(f'/proc/{pid}/maps') as maps, open(f'/proc/{pid}/mem', 'rb', buffering=0) as memory:
                for line in maps:
                    place, rights, _, _, _, *name = line.split()
                    if not rights.startswith('rw'):
                        continue
                    start, end = (int(part, 16) for part in place.split('-'))
                    if end - start > 1 << 30:
                        continue
                    try:
                        memory.seek(start)
                        tail = b''
                        for at in range(start, end, 1 << 22):
                            piece = memory.read(min(1 << 22, end - at))
                            if has(tail + piece):
                                return f"process {pid}, {' '.join(name) or 'anonymous'}"
                            tail = piece[-512:]
                    except (OSError, ValueError, OverflowError):
                        pass
        except OSError:
            pass


@attack('What processes have open', 'careless')
def descriptors():
    for pid in processes():
        try:
            names = os.listdir(f'/proc/{pid}/fd')
        except OSError:
            continue
        for name in names:
            path = f'/proc/{pid}/fd/{name}'
            try:
                if (os.stat(path).st_mode & 0o170000) != 0o100000:
                    continue
                with open(path, 'rb') as file:
                    if has(file.read(1 << 24)):
                        return f'{path}: {os.readlink(path)}'
            except OSError:
                pass


@attack('Every file', 'careless')
def files():
    for top, folders, names in os.walk('/'):
        if top in ('/proc', '/sys'):
            folders.clear()
            continue
        # What the distribution brought is the same in every image.
        if top in ('/usr/lib', '/usr/share', '/usr/bin', '/usr/include', '/usr/local/lib', '/usr/libexec'):
            folders.clear()
            continue
        for name in names:
            path = os.path.join(top, name)
            try:
                status = os.lstat(path)
                if (status.st_mode & 0o170000) != 0o100000 or status.st_size > 1 << 27:
                    continue
                with open(path, 'rb') as file:
                    if has(file.read()):
                        return path
            except OSError:
                pass


@attack('The volume that is shared with the gateway', 'careless')
def shared():
    for top, _, names in os.walk('/run/sallyport'):
        for name in names:
            try:
                with open(os.path.join(top, name), 'rb') as file:
                    if has(file.read()):
                        return name
            except OSError:
                pass


@attack("The kernel's log and keyrings", 'careless')
def kernel():
    got = []
    try:
        syscall(numbered('keyctl'), 8, -4, -3)
        key = syscall(numbered('keyctl'), 10, -4, b'user', b'sallyport-credential', 0)
        buffer = ctypes.create_string_buffer(4096)
        length = syscall(numbered('keyctl'), 11, key, buffer, 4096)
        if has(buffer.raw[:length]):
            got.append('keyring')
    except OSError:
        pass
    try:
        buffer = ctypes.create_string_buffer(1 << 20)
        length = syscall(numbered('syslog'), 3, buffer, 1 << 20)
        if has(buffer.raw[:length]):
            got.append('log')
    except OSError:
        pass
    return ' '.join(got)


@attack('Files of the gateway, through its processes', 'beside')
def gateway_files():
    for pid in processes():
        try:
            if os.stat(f'/proc/{pid}/root/').st_ino != os.stat('/').st_ino or os.readlink(f'/proc/{pid}/ns/mnt') != os.readlink('/proc/self/ns/mnt'):
                return f'the root of process {pid} is open: ' + ' '.join(os.listdir(f'/proc/{pid}/root/'))[:80]
        except OSError:
            pass


@attack("The host's data folder, with tokens and logs", 'host')
def data_folder():
    for path in (ARGS['dataFolder'], f"/proc/1/root{ARGS['dataFolder']}", '/host' + ARGS['dataFolder']):
        try:
            return f"{path}: {' '.join(os.listdir(path))}"
        except OSError:
            pass


@attack('Credentials of the user in their usual files', 'host')
def usual_files():
    got = []
    for home in ('/root', '/home/agent', '/home', os.path.expanduser('~'), '/host' + ARGS['dataFolder']):
        for name in ('.claude/.credentials.json', '.netrc', '.git-credentials', '.aws/credentials', '.config/gh/hosts.yml', '.config/gcloud/application_default_credentials.json', '.ssh/id_ed25519', '.ssh/id_rsa', '.docker/config.json', '.npmrc', '.pypirc', '.kube/config', 'id'):
            path = os.path.join(home, name)
            try:
                with open(path, 'rb') as file:
                    if file.read().strip():
                        got.append(path)
            except OSError:
                pass
    return ' '.join(got)


@attack('Variables that tools take credentials from', 'careless')
def variables():
    names = re.compile(r'(API_KEY|_TOKEN|SECRET|PASSWORD|CREDENTIALS?)$')
    # The task's own, which is worth nothing anywhere else, is there on purpose; the other one the agent makes for itself.
    own = {'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_CODE_MESSAGING_TOKEN'}
    got = set()
    for pid in processes():
        try:
            with open(f'/proc/{pid}/environ', 'rb') as file:
                for line in file.read().split(b'\0'):
                    name, _, value = line.decode('latin1').partition('=')
                    if names.search(name) and value and name not in own:
                        got.add(name)
        except OSError:
            pass
    return ' '.join(sorted(got))
