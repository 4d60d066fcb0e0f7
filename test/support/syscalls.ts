/**
 * System calls made for real, from inside a container: each is tried, and its error number told (0: it worked). Written in
 * Perl, because every Debian has one.
 */

/** Numbers of a call on the two architectures that sandboxes run on. */
const numbers = {
  io_uring_setup: [425, 425],
  socket: [41, 198],
  socketpair: [53, 199],
  userfaultfd: [323, 282],
  add_key: [248, 217],
  keyctl: [250, 219],
  request_key: [249, 218],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  mount: [165, 40],
  unshare: [272, 97],
  setns: [308, 268],
  clone3: [435, 435],
  open_by_handle_at: [304, 265],
  fanotify_init: [300, 262],
  syslog: [103, 116],
  sethostname: [170, 161],
  chroot: [161, 51],
  fallocate: [285, 47],
  fsopen: [430, 430],
  ptrace: [101, 117],
  memfd_create: [319, 279],
  personality: [135, 92],
} as const;

const [perm, noSys, notSupported] = [1, 38, 95];

interface Attempt {
  what: string;
  call: keyof typeof numbers;
  /** Perl expressions. */
  args: string[];
  /** The error number that the profile gives; 0 for what has to work behind it. */
  behind: number;
}

const attempt = (what: string, call: Attempt['call'], args: string[], behind = perm): Attempt => ({
  what,
  call,
  args,
  behind,
});

/** What the profile refuses, and what it leaves open. All harmless where they work. */
export const attempts: Attempt[] = [
  attempt('io_uring', 'io_uring_setup', ['1', '("\\0" x 120)'], noSys),
  attempt('AF_VSOCK', 'socket', ['40', '1', '0']),
  attempt('AF_VSOCK in the lower half of a wide number', 'socket', ['(1 << 32) | 40', '1', '0']),
  attempt('AF_ALG', 'socket', ['38', '5', '0']),
  attempt('AF_BLUETOOTH', 'socket', ['31', '3', '1']),
  attempt('AF_TIPC', 'socket', ['30', '2', '0']),
  attempt('AF_PACKET', 'socket', ['17', '3', '0']),
  attempt('AF_KEY', 'socket', ['15', '3', '2']),
  attempt('AF_XDP', 'socket', ['44', '3', '0']),
  attempt('netlink to the packet filter', 'socket', ['16', '3', '12']),
  attempt('a raw socket', 'socket', ['2', '3', '255']),
  attempt('SCTP', 'socket', ['2', '1', '132']),
  attempt('a pair of TIPC sockets', 'socketpair', ['30', '5', '0', '("\\0" x 8)']),
  attempt('userfaultfd', 'userfaultfd', ['1']),
  attempt('add_key', 'add_key', ['"user"', '"sallyport"', '"x"', '1', '-2']),
  attempt('keyctl', 'keyctl', ['0', '-2', '1', '0', '0']),
  attempt('request_key', 'request_key', ['"user"', '"sallyport-none"', '0', '-2']),
  attempt('bpf', 'bpf', ['0', '0', '0']),
  attempt('perf_event_open', 'perf_event_open', ['0', '0', '-1', '-1', '0']),
  attempt('mount', 'mount', ['"none"', '"/mnt"', '"tmpfs"', '0', '0']),
  attempt('fsopen', 'fsopen', ['"tmpfs"', '0']),
  attempt('a user namespace', 'unshare', ['0x10000000']),
  attempt('setns', 'setns', ['-1', '0']),
  attempt('clone3', 'clone3', ['0', '0'], noSys),
  attempt('open_by_handle_at', 'open_by_handle_at', ['-1', '0', '0']),
  attempt('fanotify_init', 'fanotify_init', ['0', '0']),
  attempt('the log of the kernel', 'syslog', ['10', '0', '0']),
  attempt('sethostname', 'sethostname', ['"sandbox"', '7']),
  attempt('chroot', 'chroot', ['"/"']),
  attempt('fallocate', 'fallocate', ['fileno($file)', '0', '0', '4096'], notSupported),
  attempt('a personality without random addresses', 'personality', ['0x40000']),
  attempt('TCP', 'socket', ['2', '1', '0'], 0),
  attempt('TCP by its number, closed on exec', 'socket', ['10', '1 | 0x80000', '6'], 0),
  attempt('UDP', 'socket', ['2', '2 | 0x800', '17'], 0),
  attempt('a unix socket', 'socket', ['1', '1', '0'], 0),
  attempt('a pair of unix sockets', 'socketpair', ['1', '1', '0', '("\\0" x 8)'], 0),
  attempt('netlink to the routes', 'socket', ['16', '3', '0'], 0),
  attempt('memfd_create', 'memfd_create', ['"x"', '0'], 0),
  attempt('ptrace', 'ptrace', ['0', '0', '0', '0'], 0),
];

/** A Perl program that makes every attempt in a process of its own, and prints one error number a line. */
export function attemptsProgram(): string {
  const lines = attempts.map(({ call, args }) => {
    const [x86, arm] = numbers[call];
    // Perl takes a number that was only ever text for a pointer, and a constant string for read-only.
    const given = args.map((arg, index) => `my $a${index} = ${arg};`).join(' ');
    const names = args.map((_, index) => `$a${index}`).join(', ');
    return `try(sub { ${given} syscall($arm ? ${arm} : ${x86}, ${names}) });`;
  });
  return `
    use POSIX (); $| = 1;
    our $arm = (POSIX::uname())[4] eq 'aarch64';
    open(our $file, '+>', '/tmp/file') or die $!;
    sub try {
      my $pid = fork();
      die 'no fork' unless defined $pid;
      if ($pid == 0) { $! = 0; my $r = $_[0]->(); print(($r == -1 ? $! + 0 : 0), "\\n"); POSIX::_exit(0) }
      waitpid($pid, 0);
    }
    ${lines.join('\n')}
  `;
}

/**
 * A program of 32 bits' system calls (x86 only): opens an AF_VSOCK socket through socketcall, which a filter cannot look
 * into. Exits with the error number, or 253 (minus a descriptor) where it worked.
 */
export function socketcallProgram(): Buffer {
  const base = 0x400000;
  const codeAt = 120;
  const code = Buffer.from([
    ...[0xb8, 102, 0, 0, 0], // mov eax, socketcall
    ...[0xbb, 1, 0, 0, 0], // mov ebx, SYS_SOCKET
    ...[0xb9, 0, 0, 0, 0], // mov ecx, the arguments
    ...[0xcd, 0x80], // int 0x80
    ...[0x89, 0xc3, 0xf7, 0xdb], // ebx = -eax
    ...[0xb8, 1, 0, 0, 0, 0xcd, 0x80], // exit(ebx)
  ]);
  code.writeUInt32LE(base + codeAt + code.length, 11);
  const args = Buffer.alloc(12);
  [40, 1, 0].forEach((value, index) => args.writeUInt32LE(value, index * 4));
  const file = Buffer.alloc(codeAt + code.length + args.length);
  Buffer.from('7f454c46020101', 'hex').copy(file);
  file.writeUInt16LE(2, 16); // an executable
  file.writeUInt16LE(62, 18); // x86-64
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(base + codeAt), 24); // entry
  file.writeBigUInt64LE(64n, 32); // program headers
  file.writeUInt16LE(64, 52);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(1, 56);
  file.writeUInt32LE(1, 64); // load
  file.writeUInt32LE(5, 68); // readable, executable
  file.writeBigUInt64LE(BigInt(base), 80);
  file.writeBigUInt64LE(BigInt(base), 88);
  file.writeBigUInt64LE(BigInt(file.length), 96);
  file.writeBigUInt64LE(BigInt(file.length), 104);
  file.writeBigUInt64LE(0x1000n, 112);
  code.copy(file, codeAt);
  args.copy(file, codeAt + code.length);
  return file;
}
