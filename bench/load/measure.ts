/**
 * One measured run: a load process on its own core against a server process on another, with the server's CPU beside it.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { cpus } from 'node:os';
import path from 'node:path';
import { cpuSecondsOf } from './cpu.ts';
import type { LoadReport, LoadSpec } from './generator.ts';
import type { Namespace } from './namespace.ts';

export const NODE_FLAGS = ['--disable-warning=ExperimentalWarning'];
const SERVER_CORE = 0;
const LOAD_CORE = 1;
const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 5_000;
const OUTPUT_BYTES_MAX = 1024 * 1024;

export interface Measured {
  readonly load: LoadReport;
  readonly cpuSeconds: number; // of the server, over the whole run
  readonly bytesPerSecond: number; // every byte that arrived, unfinished answers included
  readonly cpuSecondsPerGb: number; // 10^9 bytes
}

/** On a machine that others use: servers and load get this niceness (root may give a negative one), so that little is measured of them. */
const NICE = 'NIGHTFILL_BENCH_NICE';

function niced(argv: readonly string[]): readonly string[] {
  const nice = process.env[NICE];
  return nice === undefined ? argv : ['nice', '-n', nice, ...argv];
}

/** A server that was started here, and is stopped here. */
export interface RunningServer extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
}

/** Pins a command to a core, where there are two: on one core nothing is told apart anyway. */
export function pinned(core: 'server' | 'load', argv: readonly string[]): readonly string[] {
  const command = niced(argv);
  if (cpus().length < 2 || spawnSync('taskset', ['-V']).error !== undefined) return command;
  return ['taskset', '-c', String(core === 'server' ? SERVER_CORE : LOAD_CORE), ...command];
}

/** Starts `argv` in the namespace, pinned; resolves when `isReady` says so of its output. Throws with that output where it ends before. */
export async function startServer(
  name: string,
  argv: readonly string[],
  namespace: Namespace,
  isReady: (output: string) => boolean,
  pin = true,
): Promise<RunningServer & { readonly output: () => string }> {
  const command = namespace.inside(pin ? pinned('server', argv) : niced(argv));
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const ready = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('was not ready in time')), START_DEADLINE_MS);
    const take = (part: Buffer): void => {
      if (output.length < OUTPUT_BYTES_MAX) output += part.toString('utf8');
      if (isReady(output)) {
        clearTimeout(timer);
        resolve();
      }
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`ended with ${signal ?? `status ${code}`}`));
    });
  });
  const onExit = (): void => void child.kill('SIGKILL');
  process.on('exit', onExit);
  const stop = async (): Promise<void> => {
    await stopChild(child);
    process.off('exit', onExit);
  };
  try {
    await ready;
  } catch (thrown) {
    await stop();
    throw new Error(`${name} ${(thrown as Error).message}:\n${output.slice(-4000)}`, {
      cause: thrown,
    });
  }
  return { name, pid: child.pid!, output: () => output, [Symbol.asyncDispose]: stop };
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

/** One load run, without a look at its server. Throws where requests failed. `pin` false: on whichever core there is room. */
export async function load(
  spec: LoadSpec,
  namespace: Namespace,
  nice = 0,
  pin = true,
): Promise<LoadReport> {
  const argv = [process.execPath, ...NODE_FLAGS, path.join(import.meta.dirname, 'main.ts')];
  const polite = nice === 0 ? [] : ['nice', '-n', String(nice)];
  const generator = [...argv, JSON.stringify(spec)];
  const command = namespace.inside([
    ...polite,
    ...(pin ? pinned('load', generator) : niced(generator)),
  ]);
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  const onExit = (): void => void child.kill('SIGKILL');
  process.on('exit', onExit);
  let output = '';
  let problems = '';
  child.stdout.on('data', (part: Buffer) => (output += part.toString('utf8')));
  child.stderr.on('data', (part: Buffer) => (problems += part.toString('utf8')));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  process.off('exit', onExit);
  if (code !== 0) throw new Error(`the load generator ended with status ${code}:\n${problems}`);
  const report = JSON.parse(output) as LoadReport;
  if (report.errors > 0) {
    throw new Error(`${report.errors} requests failed, the first: ${report.firstError}`);
  }
  return report;
}

/** One load run. The server's CPU before and after it is set against every byte that arrived, warm-up included. */
export async function measure(
  spec: LoadSpec,
  serverPid: number,
  namespace: Namespace,
): Promise<Measured> {
  const cpuAtStart = cpuSecondsOf(serverPid);
  const report = await load(spec, namespace);
  const cpuSeconds = cpuSecondsOf(serverPid) - cpuAtStart;
  return {
    load: report,
    cpuSeconds,
    bytesPerSecond: report.totalBytes / ((spec.warmupMs + report.durationMs) / 1000),
    cpuSecondsPerGb: cpuSeconds / (report.totalBytes / 1e9),
  };
}

/** What several generators got at once from a server, none of them pinned: the cores are shared out by the kernel. */
export interface Shared {
  readonly bytesPerSecond: number;
  readonly cpuSecondsPerGb: number;
  readonly p99Ms: number; // the worst generator's
}

/** Each of `generators` processes has its share of the connections. */
export async function measureShared(
  spec: LoadSpec,
  serverPid: number,
  namespace: Namespace,
  generators: number,
): Promise<Shared> {
  const cpuAtStart = cpuSecondsOf(serverPid);
  const connections = Math.ceil(spec.connections / generators);
  const reports = await Promise.all(
    Array.from({ length: generators }, (_, at) =>
      load({ ...spec, connections, seed: spec.seed + at }, namespace, 0, false),
    ),
  );
  const cpuSeconds = cpuSecondsOf(serverPid) - cpuAtStart;
  const bytes = reports.reduce((sum, { totalBytes }) => sum + totalBytes, 0);
  return {
    bytesPerSecond: bytes / ((spec.warmupMs + spec.durationMs) / 1000),
    cpuSecondsPerGb: cpuSeconds / (bytes / 1e9),
    p99Ms: Math.max(...reports.map(({ latencyMs }) => latencyMs.p99)),
  };
}
