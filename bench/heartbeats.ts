/**
 * `npm run bench -- heartbeats --json [boxes] [--seconds N] [--profile DIR]`: one control plane with 17,000 boxes on long-lived
 * connections, each with a heartbeat a second, and one steering process that is told of them.
 *
 * The control plane is the product's own process; the boxes are connections of a few loader processes (bench/heartbeats/loader.ts)
 * that enrol, authenticate and beat as boxes do, and acknowledge what is denied. `--profile`: the control plane's CPU profile. Reported: beats a second that are answered, and per
 * core of the control plane; its memory; how late answers come; seconds from a takedown to each acknowledgement.
 *
 * Both sides share this machine: a rate that is not reached says where one node ends HERE, not elsewhere.
 */
import { createHash } from 'node:crypto';
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { assert } from '#base/outcome.ts';
import type { LoaderAnswer, LoaderOrder } from './heartbeats/loader.ts';

const BOXES = 17_000;
const BOXES_SMOKE = 60;
const LOADERS = 2;
const MEASURE_MS = 15_000;
const MEASURE_MS_SMOKE = 3000;
const SETTLE_MS = 4000; // each box is serving and known to steering before anything is measured
const ADDRESS = '127.79.4.1';
const PORT = 25_900;
const ROOT = path.join(import.meta.dirname, '..');
const TICKS_PER_SECOND = 100; // of /proc/PID/stat

export async function run(options: {
  readonly json: boolean;
  readonly smoke: boolean;
  readonly args: readonly string[];
}): Promise<unknown> {
  const { values, positionals } = parseArgs({
    args: [...options.args],
    allowPositionals: true,
    options: { seconds: { type: 'string' }, profile: { type: 'string' } },
  });
  const wanted = Number(positionals[0] ?? (options.smoke ? BOXES_SMOKE : BOXES));
  if (!Number.isInteger(wanted) || wanted < 1) {
    throw new Error(`heartbeats: "${positionals[0]}" is no number of boxes; e.g. 4000`);
  }
  const measureMs =
    values.seconds === undefined
      ? options.smoke
        ? MEASURE_MS_SMOKE
        : MEASURE_MS
      : 1000 * Number(values.seconds);
  const directory = mkdtempSync(path.join(stateRoot(), 'nightfill-heartbeats-'));
  const children: ChildProcess[] = [];
  // Whoever stops the bench stops what it started.
  process.once('SIGTERM', () => process.exit(143));
  process.once('SIGINT', () => process.exit(130));
  process.once('exit', () => {
    for (const child of children) child.kill('SIGKILL');
  });
  try {
    const profile = values.profile === undefined ? null : path.resolve(values.profile);
    return await measure(directory, wanted, measureMs, profile, children);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
}

/** In memory where there is such a place: 17,000 enrolments are two synchronous commits each, and none is what is measured. */
function stateRoot(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
}

async function measure(
  directory: string,
  boxes: number,
  measureMs: number,
  profile: string | null,
  children: ChildProcess[],
): Promise<unknown> {
  const controlPlane = await startControlPlane(directory, profile, children);
  await operator('POST', '/v1/sites', {
    siteId: 'site',
    name: 'site',
    country: 'FR',
    fillWindow: { startLocal: '02:00', hours: 12, timeZone: 'Europe/Paris' },
    clusters: [{ clusterId: 'site', prefixes: [] }],
  });
  const loaders = Array.from({ length: LOADERS }, (_, at) => startLoader(at, children));
  const share = Math.ceil(boxes / LOADERS);
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const connectedMs = performance.now();
  const connected = await Promise.all(
    loaders.map((loader, at) =>
      loader({
        do: 'connect',
        url: url(),
        token: tokenOf('operator'),
        from: at * share,
        count: Math.min(share, boxes - at * share),
      }),
    ),
  );
  const open = sum(connected, 'connected');
  say(
    `${open} of ${boxes} connected in ${((performance.now() - connectedMs) / 1000).toFixed(1)} s`,
  );
  const pid = controlPlane.pid ?? 0;
  const steering = followAsSteering();
  await Promise.all(loaders.map((loader) => loader({ do: 'beat', forMs: SETTLE_MS })));
  const cpuBefore = cpuSeconds(pid);
  const steeringBefore = steering.bytes;
  const startMs = performance.now();
  const beats = await Promise.all(
    loaders.map((loader) => loader({ do: 'beat', forMs: measureMs })),
  );
  const seconds = (performance.now() - startMs) / 1000;
  const cpu = cpuSeconds(pid) - cpuBefore;
  const answered = sum(beats, 'answered');
  const rss = rssBytes(pid);
  const latencies = beats.flatMap((answer) => answer.latenciesMs ?? []).sort((a, b) => a - b);
  const steeringBytes = steering.bytes - steeringBefore;
  const denied = await takedown(loaders);
  const health = (await (await fetch(`${url()}/v1/health`)).json()) as {
    heartbeatConnections: number;
  };
  if (profile !== null) {
    controlPlane.kill('SIGTERM');
    await new Promise((resolve) => controlPlane.once('exit', resolve));
  }
  const result = {
    heartbeats: {
      boxesWanted: boxes,
      boxesConnected: open,
      loaderProcesses: LOADERS,
      cores: os.availableParallelism(),
      seconds,
      beatsSent: sum(beats, 'sent'),
      beatsAnswered: answered,
      answeredPerSecond: answered / seconds,
      controlPlaneCores: cpu / seconds,
      answeredPerSecondAndCore: answered / cpu,
      cpuMicrosecondsPerBeat: (1e6 * cpu) / answered,
      rssBytes: rss,
      answerMs: { p50: at(latencies, 0.5), p99: at(latencies, 0.99) },
      takedown: denied,
      steeringBytesPerSecond: steeringBytes / seconds,
      connections: health.heartbeatConnections,
    },
  };
  say(JSON.stringify(result.heartbeats));
  return result;
}

/** Seconds from the operator's call to the acknowledgement of each box, as the control plane took it in. */
async function takedown(
  loaders: readonly ((order: LoaderOrder) => Promise<LoaderAnswer>)[],
): Promise<unknown> {
  const waiting = loaders.map((loader) => loader({ do: 'deny', forMs: 15_000 }));
  const atMs = Date.now();
  const made = (await operator('POST', '/v1/denials', {
    kind: 'issuer',
    value: 'nobody',
    reason: 'bench',
  })) as { id: number };
  const answers = await Promise.all(waiting);
  const view = (await operator('GET', `/v1/denials/${made.id}`)) as {
    summary: Record<string, number>;
    boxes: { acknowledgedAtMs: number | null }[];
  };
  const seconds = view.boxes
    .flatMap(({ acknowledgedAtMs }) => acknowledgedAtMs ?? [])
    .map((acknowledgedAtMs) => (acknowledgedAtMs - atMs) / 1000)
    .sort((a, b) => a - b);
  return {
    received: sum(answers, 'denied'),
    acknowledged: seconds.length,
    p50Seconds: at(seconds, 0.5),
    p99Seconds: at(seconds, 0.99),
    lastSeconds: seconds.at(-1) ?? null,
    summary: view.summary,
  };
}

async function startControlPlane(
  directory: string,
  profile: string | null,
  children: ChildProcess[],
): Promise<ChildProcess> {
  const keysDir = path.join(directory, 'keys');
  await once(spawn(path.join(ROOT, 'bin', 'nightfill'), ['keys', 'init', keysDir]));
  mkdirSync(path.join(directory, 'state'));
  const config = path.join(directory, 'control-plane.json');
  const listen = { address: ADDRESS, port: PORT };
  writeFileSync(
    config,
    JSON.stringify({
      listen,
      publicUrl: url(),
      stateDir: path.join(directory, 'state'),
      keysDir,
      serviceTokens: ['operator', 'steering'].map((role) => ({
        name: role,
        role,
        sha256: createHash('sha256').update(tokenOf(role)).digest('base64url'),
      })),
      origin: { baseUrl: 'http://127.0.0.1:9', adminUrl: 'http://127.0.0.1:9' },
      playbackUrl: 'http://127.0.0.1:9',
      steeringUrl: 'http://127.0.0.1:9',
      planning: {},
      openCallsPerSecond: 100_000,
      logLevel: 'warn',
    }),
  );
  const shell = `ulimit -n $(ulimit -Hn); exec "${path.join(ROOT, 'bin', 'nightfill')}" control-plane --config "${config}"`;
  const env =
    profile === null
      ? process.env
      : { ...process.env, NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profile}` };
  const child = spawn('bash', ['-c', shell], { stdio: ['ignore', 'pipe', 'inherit'], env });
  children.push(child);
  const lines = createInterface({ input: child.stdout });
  lines.on('line', () => {}); // read on, so that the pipe never fills
  for (let attempt = 0; attempt < 200; attempt++) {
    const isUp = await fetch(`${url()}/v1/health`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isUp) return child;
    assert(child.exitCode === null, 'the control plane runs');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the control plane did not come up');
}

/** One steering process's stream, read and counted. */
function followAsSteering(): { bytes: number } {
  const count = { bytes: 0 };
  const headers = { authorization: `Bearer ${tokenOf('steering')}` };
  void fetch(`${url()}/v1/fleet/stream`, { headers })
    .then(
      async (answer) => {
        assert(answer.ok && answer.body !== null, `the fleet stream answers, ${answer.status}`);
        for await (const part of answer.body) count.bytes += (part as Uint8Array).length;
      },
      () => {}, // the control plane ended
    )
    .catch(() => {});
  return count;
}

function startLoader(
  index: number,
  children: ChildProcess[],
): (order: LoaderOrder) => Promise<LoaderAnswer> {
  const child = fork(path.join(import.meta.dirname, 'heartbeats', 'loader.ts'), [String(index)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  children.push(child);
  return (order) =>
    new Promise((resolve, reject) => {
      child.once('message', (answer) => resolve(answer as LoaderAnswer));
      child.once('exit', (code) => reject(new Error(`a loader ended with status ${code}`)));
      child.send(order);
    });
}

async function operator(method: string, route: string, body?: unknown): Promise<unknown> {
  const answer = await fetch(`${url()}${route}`, {
    method,
    headers: {
      authorization: `Bearer ${tokenOf('operator')}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert(answer.ok, `${method} ${route}: ${answer.status} ${text.slice(0, 300)}`);
  return JSON.parse(text) as unknown;
}

function url(): string {
  return `http://${ADDRESS}:${PORT}`;
}

function tokenOf(role: string): string {
  return createHash('sha256').update(`heartbeats ${role}`).digest('hex');
}

function once(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`status ${code}`))));
  });
}

function sum(
  answers: readonly LoaderAnswer[],
  field: 'connected' | 'sent' | 'answered' | 'denied',
): number {
  return answers.reduce((total, answer) => total + (answer[field] ?? 0), 0);
}

function at(sorted: readonly number[], share: number): number | null {
  return sorted.length === 0
    ? null
    : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function rssBytes(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? 0) * 1024;
}
