/**
 * A network namespace of its own for one bench: `lo` at MTU 1500 instead of 65,536.
 *
 * Why: with loopback's own MTU, 64 KiB answers stall 40 ms in every server, and a whole answer is one segment.
 *
 * Invariants: (1) the namespace is deleted when the bench ends, by whatever way but SIGKILL
 *             (2) without root there is none; `whyNoNamespace` says so in the user's words
 */
import { spawn, spawnSync } from 'node:child_process';

const MTU = 1500;
const SIGNAL_GRACE_MS = 3000;

export interface Namespace extends Disposable {
  readonly name: string | null; // null: the machine's own loopback
  /** The command line that runs `argv` inside. The process keeps its id: ip and taskset only exec. */
  inside(argv: readonly string[]): readonly string[];
}

export function whyNoNamespace(): string | null {
  if (process.platform !== 'linux') return 'network namespaces exist on Linux only';
  if (process.getuid?.() !== 0) {
    return 'a network namespace needs root: sudo npm run bench -- ... (loopback’s MTU of 65,536 stalls answers in every server)';
  }
  if (spawnSync('ip', ['-V']).error !== undefined) {
    return 'the ip command is missing: apt-get install iproute2';
  }
  if (spawnSync('unshare', ['--net', 'true']).status !== 0) {
    return 'this root may make no network namespace (a container without CAP_SYS_ADMIN): run on the machine itself';
  }
  return null;
}

/** Throws with a message for the user where there can be none. */
export function openNamespace(): Namespace {
  const why = whyNoNamespace();
  if (why !== null) throw new Error(why);
  const name = `nightfill-bench-${process.pid}`;
  run('ip', 'netns', 'add', name);
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    process.off('exit', close);
    for (const signal of SIGNALS) process.off(signal, onSignal);
    spawnSync('ip', ['netns', 'del', name]);
  };
  // What runs inside is asked to stop first; then the exit handlers run.
  const onSignal = (): void => void setTimeout(() => process.exit(130), SIGNAL_GRACE_MS);
  process.on('exit', close);
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    run('ip', 'netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'mtu', String(MTU), 'up');
  } catch (thrown) {
    close();
    throw thrown;
  }
  return {
    name,
    inside: (argv) => ['ip', 'netns', 'exec', name, ...argv],
    [Symbol.dispose]: close,
  };
}

/** For a smoke run without root: the machine's own loopback. Its figures mean nothing. */
export function machineLoopback(): Namespace {
  return { name: null, inside: (argv) => argv, [Symbol.dispose]: () => {} };
}

/** Set in a bench process that already runs inside: its value is the namespace's name. */
const INSIDE = 'NIGHTFILL_BENCH_NAMESPACE';

export function isInNamespace(): boolean {
  return process.env[INSIDE] !== undefined;
}

/**
 * Runs this very bench command again inside a namespace and answers its exit status, so that everything it starts, and its own
 * calls, share one loopback. Its output is this process's output.
 */
export async function runAgainInside(open: () => Namespace = openNamespace): Promise<number> {
  using namespace = open();
  const argv = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const [program, ...rest] = namespace.inside(argv);
  const child = spawn(program, rest, {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: namespace.name ?? '' },
  });
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of SIGNALS) process.prependListener(signal, pass);
  const code = await new Promise<number>((resolve) => {
    child.on('exit', (status) => resolve(status ?? 1));
    child.on('error', () => resolve(1));
  });
  for (const signal of SIGNALS) process.off(signal, pass);
  return code;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function run(...argv: readonly string[]): void {
  const ended = spawnSync(argv[0], argv.slice(1), { encoding: 'utf8' });
  if (ended.status !== 0) {
    throw new Error(`${argv.join(' ')} failed: ${ended.stderr ?? String(ended.error)}`.trim());
  }
}
