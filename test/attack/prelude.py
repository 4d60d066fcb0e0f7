# Put before every attack program. An attack is a function that returns what it got, as text, and returns nothing or
# raises when it got nothing. Each runs in a process of its own, all side by side; each prints one line of JSON.
import ctypes, errno, json, os, select, signal, socket, struct, sys, time

ARGS = json.loads(sys.argv[1])
LIMIT_S = ARGS.get('limitS', 15)
ATTACKS = []
libc = ctypes.CDLL(None, use_errno=True)


class Absent(Exception):
    """What is attacked does not exist in this kernel, whoever asks."""


def attack(title, weak):
    """`weak` names the containers in which it has to succeed first."""
    def keep(function):
        ATTACKS.append((title, weak, function))
        return function
    return keep


def syscall(number, *args):
    """By number; raises OSError."""
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *args)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def checked(result):
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def numbered(name):
    """Numbers of system calls that Python has no words for."""
    x86 = {'bpf': 321, 'perf_event_open': 298, 'add_key': 248, 'keyctl': 250, 'init_module': 175, 'kexec_load': 246,
           'io_uring_setup': 425, 'io_uring_enter': 426, 'unshare': 272, 'clone': 56, 'setns': 308, 'pivot_root': 155,
           'open_by_handle_at': 304, 'name_to_handle_at': 303, 'ptrace': 101, 'userfaultfd': 323, 'fsopen': 430,
           'open_tree': 428, 'process_vm_readv': 310, 'syslog': 103, 'swapon': 167, 'reboot': 169, 'iopl': 172,
           'pidfd_open': 434, 'pidfd_getfd': 438, 'clone3': 435, 'quotactl': 179, 'acct': 163, 'memfd_create': 319,
           'mount_setattr': 442}
    arm = {'bpf': 280, 'perf_event_open': 241, 'add_key': 217, 'keyctl': 219, 'init_module': 105, 'kexec_load': 104,
           'io_uring_setup': 425, 'io_uring_enter': 426, 'unshare': 97, 'clone': 220, 'setns': 268, 'pivot_root': 41,
           'open_by_handle_at': 265, 'name_to_handle_at': 264, 'ptrace': 117, 'userfaultfd': 282, 'fsopen': 430,
           'open_tree': 428, 'process_vm_readv': 270, 'syslog': 116, 'swapon': 224, 'reboot': 142,
           'pidfd_open': 434, 'pidfd_getfd': 438, 'clone3': 435, 'quotactl': 60, 'acct': 89, 'memfd_create': 279,
           'mount_setattr': 442}
    return (arm if os.uname().machine == 'aarch64' else x86)[name]


def tcp(host, port, timeout=2, family=socket.AF_INET):
    """Connects, or is refused by somebody: both are an answer from the other side."""
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect((host, port))
            return f'connected to {host} port {port}'
        except ConnectionRefusedError:
            return f'{host} refused port {port}, so it was reached'


def run_one(title, function, out):
    try:
        got = function()
        line = {'attack': title, 'got': bool(got), 'detail': str(got or 'nothing')[:300]}
    except Absent as absent:
        line = {'attack': title, 'got': False, 'absent': True, 'detail': str(absent)}
    except BaseException as error:
        line = {'attack': title, 'got': False, 'detail': f'{type(error).__name__}: {error}'[:300]}
    os.write(out, (json.dumps(line) + '\n').encode())


def fork():
    for patience in range(20):
        try:
            return os.fork()
        except BlockingIOError:
            # What the one before has left is still being taken away.
            time.sleep(0.2)
    return os.fork()


def main():
    world = ARGS.get('world')
    only = ARGS.get('only')
    children = {}
    for title, weak, function in ATTACKS:
        if world is not None and world not in weak.split():
            continue
        if only is not None and title not in only:
            continue
        reader, writer = os.pipe()
        pid = fork()
        if pid == 0:
            os.close(reader)
            signal.alarm(LIMIT_S)
            run_one(title, function, writer)
            os._exit(0)
        os.close(writer)
        children[reader] = (title, pid)
        if ARGS.get('inTurn'):
            # They would take from each other what they measure.
            select.select([reader], [], [])
            os.waitpid(pid, 0)
    for reader, (title, pid) in children.items():
        with os.fdopen(reader) as lines:
            text = lines.read()
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass
        print(text.strip() or json.dumps({'attack': title, 'got': False, 'detail': 'ended without a word'}), flush=True)
