/**
 * Play requests over HTTP: the service in a process of its own, closed-loop connections from another; with tokens that are there already,
 * with a fresh signature for nearly each, and while a night's changes of the whole shard come in.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { PlayRequest } from '#steering/contract.ts';
import { cpuSecondsOf } from '../load/cpu.ts';
import type { LoadFigures } from './asker.ts';
import type { TopologySize } from './topology.ts';

export interface ServerPlan {
  readonly data: string | null;
  readonly size: TopologySize;
  readonly seed: number;
  readonly boxes: number;
  readonly files: number;
}

/** What the service's process says when it listens, and what the asking one is told first. */
export interface ServerReady {
  readonly port: number;
  readonly cached: readonly PlayRequest[]; // few titles and homes: their tokens are there after the first round
  readonly fresh: readonly PlayRequest[]; // a title and home of its own nearly each
}

interface HttpFigures extends LoadFigures {
  readonly cpuMicrosPerRequest: number; // of the whole process, all threads
}

const ANSWER_MS = 180_000; // a helper that says nothing for so long is ended
const WARM_SECONDS = 4; // until what is asked all the time has been compiled

export async function measureHttp(plan: ServerPlan, seconds: number): Promise<unknown> {
  using server = new Helper('server.ts', JSON.stringify(plan));
  const ready = await server.hear();
  using asker = new Helper('asker.ts');
  asker.say(ready);
  const ask = async (what: 'cached' | 'fresh', forSeconds: number): Promise<HttpFigures> => {
    const before = cpuSecondsOf(server.pid);
    asker.say(`${what} ${forSeconds}`);
    const figures = JSON.parse(await asker.hear()) as LoadFigures;
    const spent = cpuSecondsOf(server.pid) - before;
    const answers = figures.requestsPerSecond * forSeconds;
    return { ...figures, cpuMicrosPerRequest: Math.round((spent * 1e7) / answers) / 10 };
  };
  await ask('cached', Math.min(WARM_SECONDS, seconds));
  const cached = await ask('cached', seconds);
  console.error(`steer: http, tokens cached ${JSON.stringify(cached)}`);
  const fresh = await ask('fresh', seconds);
  console.error(`steer: http, fresh signatures ${JSON.stringify(fresh)}`);
  server.say(`night ${seconds * 4}`);
  const during = await ask('cached', seconds * 4);
  const night = JSON.parse(await server.hear()) as unknown;
  console.error(`steer: http, while a night comes in ${JSON.stringify({ during, night })}`);
  return { cached, fresh, duringNight: { ...during, night } };
}

/** A process of this folder that is told lines and answers in lines. It ends with this one. */
class Helper implements Disposable {
  readonly #child;
  readonly #lines;
  readonly #file: string;

  constructor(file: string, ...args: readonly string[]) {
    this.#file = file;
    const program = path.join(import.meta.dirname, file);
    this.#child = spawn(process.execPath, [program, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    process.once('exit', this.#stop);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  async hear(): Promise<string> {
    const timer = setTimeout(this.#stop, ANSWER_MS);
    const { value, done } = await this.#lines.next();
    clearTimeout(timer);
    if (done === true) throw new Error(`${this.#file} ended: exit code ${this.#child.exitCode}`);
    return value;
  }

  readonly #stop = (): void => void this.#child.kill('SIGTERM');

  [Symbol.dispose](): void {
    process.off('exit', this.#stop);
    this.#stop();
  }
}
