/**
 * Starts the services of a one-machine CDN as child processes and knows what became of each.
 *
 * A child is ready when it logs one line with "event":"ready". Its output goes to logs/<name>.log; when it ends before
 * it is ready, its own last words are the error.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  createWriteStream,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  type WriteStream,
} from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

const READY_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 5_000;
const LAST_WORDS_MAX = 12;

export interface ChildExit {
  readonly name: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface Running {
  readonly child: ChildProcess;
  readonly exited: Promise<ChildExit>;
}

export class Processes {
  readonly #running = new Map<string, Running>();
  readonly #logsDir: string;
  readonly #pidFile: string;
  readonly #program: string;
  #stopping = false;
  /** Called when a child that was ready ends by itself. */
  onUnexpectedExit: (exit: ChildExit) => void = () => {};

  constructor(stateDir: string, logsDir: string, program: string) {
    mkdirSync(logsDir, { recursive: true });
    this.#logsDir = logsDir;
    this.#pidFile = path.join(stateDir, 'pids.json');
    this.#program = program;
  }

  pidOf(name: string): number | undefined {
    return this.#running.get(name)?.child.pid;
  }

  /** Starts `nightfill <args>` and waits until it is ready. Throws with the child's last words. */
  async start(name: string, args: readonly string[]): Promise<void> {
    const log = createWriteStream(path.join(this.#logsDir, `${name}.log`), { flags: 'a' });
    // In a group of its own: a Ctrl-C at the terminal reaches `up` alone, which then stops the children in order.
    const child = spawn(this.#program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const lastWords: string[] = [];
    const exited = new Promise<ChildExit>((resolve) => {
      child.once('exit', (code, signal) => resolve({ name, code, signal }));
    });
    const ready = watchOutput(child, log, lastWords);
    this.#running.set(name, { child, exited });
    this.#savePids();
    let late: NodeJS.Timeout | undefined;
    const deadline = new Promise<'late'>((resolve) => {
      late = setTimeout(() => resolve('late'), READY_DEADLINE_MS);
    });
    const first = await Promise.race([ready, exited, deadline]);
    clearTimeout(late);
    if (first === 'ready') {
      void exited.then((exit) => {
        this.#running.delete(name);
        this.#savePids();
        if (!this.#stopping) this.onUnexpectedExit(exit);
      });
      return;
    }
    this.#running.delete(name);
    child.kill('SIGKILL');
    this.#savePids();
    const words = lastWords.join('\n  ');
    throw new Error(
      first === 'late'
        ? `${name} was not ready within ${READY_DEADLINE_MS / 1000} s. Its last lines:\n  ${words}`
        : `${name} ended before it was ready (${first.signal ?? `status ${first.code}`}). Its last lines:\n  ${words}`,
    );
  }

  kill9(name: string): void {
    this.#running.get(name)?.child.kill('SIGKILL');
  }

  /**
   * Stops every child, those of `first` before the others; whoever does not end in time is killed. Returns who had to be killed.
   */
  async stopAll(first: readonly string[]): Promise<readonly string[]> {
    this.#stopping = true;
    const killed: string[] = [];
    await this.#stop(first, killed);
    await this.#stop([...this.#running.keys()], killed);
    rmSync(this.#pidFile, { force: true });
    return killed;
  }

  async #stop(names: readonly string[], killed: string[]): Promise<void> {
    const entries = [...this.#running].filter(([name]) => names.includes(name));
    await Promise.all(
      entries.map(async ([name, { child, exited }]) => {
        child.kill('SIGTERM');
        const timer = setTimeout(() => {
          killed.push(name);
          child.kill('SIGKILL');
        }, STOP_DEADLINE_MS);
        await exited;
        clearTimeout(timer);
        this.#running.delete(name);
      }),
    );
  }

  #savePids(): void {
    const pids: Record<string, number> = {};
    for (const [name, { child }] of this.#running)
      if (child.pid !== undefined) pids[name] = child.pid;
    writeFileSync(this.#pidFile, `${JSON.stringify({ up: process.pid, pids }, null, 2)}\n`);
  }
}

/**
 * Looks at what an earlier `up` left in this state directory. Throws when it still runs; ends its children when
 * it was killed and they were left behind (only processes that carry this state directory on their command line).
 */
export function clearLeftovers(stateDir: string): readonly string[] {
  let left: { up: number; pids: Record<string, number> };
  try {
    left = JSON.parse(readFileSync(path.join(stateDir, 'pids.json'), 'utf8')) as typeof left;
  } catch {
    return [];
  }
  if (left.up !== process.pid && isUp(commandLineOf(left.up))) {
    throw new Error(
      `another "nightfill up" (pid ${left.up}) runs on ${stateDir}: stop it, or choose another --state directory`,
    );
  }
  const ended: string[] = [];
  for (const [name, pid] of Object.entries(left.pids)) {
    if (!commandLineOf(pid).some((word) => word.startsWith(stateDir))) continue;
    process.kill(pid, 'SIGKILL');
    ended.push(name);
  }
  return ended;
}

function isUp(words: readonly string[]): boolean {
  return words.includes('up') && words.some((word) => word.endsWith('cli.ts'));
}

function commandLineOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function watchOutput(child: ChildProcess, log: WriteStream, lastWords: string[]): Promise<'ready'> {
  return new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        log.write(`${line}\n`);
        lastWords.push(line);
        if (lastWords.length > LAST_WORDS_MAX) lastWords.shift();
        if (line.includes('"event":"ready"')) resolve('ready');
      });
    }
    child.once('close', () => log.end());
  });
}
