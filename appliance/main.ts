/**
 * `nightfill appliance`: the cache daemon of one box, and the commands that talk to it.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { sleep, systemClock } from '#base/clock.ts';
import { ConfigProblem, readConfigFile } from '#base/config.ts';
import { runDaemon } from '#base/io/daemon.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import { createLogger, type Logger } from '#base/log.ts';
import { messageOf, success, type Outcome } from '#base/outcome.ts';
import { systemRandom } from '#base/random.ts';
import { formatBps, formatBytes, formatDuration } from '#base/units.ts';
import type { ApplianceStatus } from './contract.ts';
import { addFillCommands } from './fill-commands.ts';
import type { RunningAppliance } from './io/running-appliance.ts';
import {
  adminTokenFile,
  ApplianceConfigSchema,
  configProblems,
  type ApplianceConfig,
} from './config.ts';
import type { DrainProgress } from './serve/drain-watch.ts';

/** A scrub or an adoption of a whole disk. */
const ACTION_MS_MAX = 7 * 24 * 3600 * 1000;
/** libuv's default of 4 threads would queue reads behind syncs; data-plane.md measured 32. */
const IO_THREADS = 32;
const WATCH_MS = 1000;
const CLEAR_SCREEN = '\x1b[H\x1b[J';

interface Options {
  readonly config?: string;
  readonly checkConfig?: boolean;
  readonly json?: boolean;
  readonly by?: string;
  readonly wait?: boolean;
  readonly watch?: boolean;
}

export function addCommands(program: Command): void {
  const appliance = program
    .command('appliance')
    .description('run the cache daemon of one box')
    .option('--config <file>', 'JSON, see appliance/config.ts')
    .option('--check-config', 'check the configuration and stop')
    .action((options: Options) => run(configOf(options), options));
  appliance
    .command('status')
    .description('what a running box is doing')
    .option('--json', 'the status message as it is')
    .option('--watch', 'show it again each second, in place on a terminal')
    .action((_: Options, command: Command) => {
      const options: Options = command.optsWithGlobals();
      return status(configOf(options), options);
    });
  appliance
    .command('drain')
    .description(
      'send new viewers elsewhere, the others by a deadline; follows until it is safe to power off',
    )
    .option('--by <time>', 'ISO time by which nobody is kept (default: 4.5 minutes from now)')
    .option('--no-wait', 'start the drain and return')
    .action((_: Options, command: Command) => drain(command.optsWithGlobals()));
  const actions: readonly [name: string, argument: string | null, what: string][] = [
    ['undrain', null, 'take new viewers again'],
    [
      'scrub',
      null,
      'read every chunk back once and compare; what is bad is dropped and fetched again',
    ],
    ['manifest', null, 'the manifest in use, and one that waits for a confirmation'],
    ['confirm-manifest', null, 'what a held-back manifest deletes is meant: take it'],
    ['volumes', null, 'the disks: how full, how fast, which are out and why'],
    ['readmit', 'path', 'a volume that was taken out is sound again: used from the next start'],
    ['adopt', 'directory', 'take over a pre-seeded disk; each chunk is checked before it counts'],
    [
      'explain',
      'fileId',
      'why a file is or is not here, where it came from, how much it is wanted',
    ],
  ];
  for (const [name, argument, what] of actions) {
    const made = appliance.command(name).description(what);
    if (argument !== null) made.argument(`<${argument}>`);
    made.action((...given: unknown[]) => {
      const options: Options = (given.at(-1) as Command).optsWithGlobals();
      return act(configOf(options), name, argument === null ? '' : String(given[0]));
    });
  }
  addFillCommands(program, appliance, configOf, call);
  appliance
    .command('doctor')
    .description('look at this machine: limits, disks, sender; each finding with what to do')
    .action(async (_: Options, command: Command) => {
      const { examine } = await import('./io/doctor.ts');
      const findings = examine(configOf(command.optsWithGlobals()));
      for (const { level, what, todo } of findings) {
        console.log(
          `${level.padEnd(8)} ${what}${todo === undefined ? '' : `\n${' '.repeat(9)}${todo}`}`,
        );
      }
      if (findings.some(({ level }) => level === 'problem')) process.exitCode = 1;
    });
}

function configOf(options: Options): ApplianceConfig {
  if (options.config === undefined) {
    throw new ConfigProblem('the command line', ['--config <file> is needed']);
  }
  return readConfigFile(ApplianceConfigSchema, options.config, configProblems);
}

async function run(config: ApplianceConfig, options: Options): Promise<void> {
  if (options.checkConfig === true) {
    console.log(`${options.config}: ${config.applianceId} is valid`);
    return;
  }
  process.env['UV_THREADPOOL_SIZE'] ??= String(IO_THREADS); // before the first use of the pool
  const { startAppliance } = await import('./io/running-appliance.ts');
  const { SystemdNotifier } = await import('./io/systemd.ts');
  const log = createLogger('appliance', config.logLevel);
  await runDaemon(log, async (signal) => {
    const box = await startAppliance({
      config,
      clock: systemClock,
      random: systemRandom,
      log,
      signal,
    });
    const systemd = new SystemdNotifier(systemClock, log);
    process.on('SIGHUP', () => reload(box, options, log));
    if (!signal.aborted) systemd.ready();
    return {
      ready: {
        applianceId: config.applianceId,
        listen: box.content,
        ...(box.tls === null ? {} : { tls: box.tls }),
        admin: box.admin,
      },
      stop: () => {
        systemd.stopping();
        return box.stop();
      },
    };
  });
}

/** Whole or nothing: a configuration with a problem changes nothing. */
function reload(box: RunningAppliance, options: Options, log: Logger): void {
  try {
    const needRestart = box.reload(configOf(options));
    if (needRestart.length === 0) return;
    log.warn({ event: 'restart-needed', fields: needRestart }, 'some changes need a restart');
  } catch (thrown) {
    log.error({ event: 'reload-refused' }, `the old configuration stays: ${messageOf(thrown)}`);
  }
}

function adminUrl(config: ApplianceConfig, path: string): string {
  const { address, port } = config.admin;
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}${path}`;
}

async function status(config: ApplianceConfig, options: Options): Promise<void> {
  for (;;) {
    const text = await statusText(config, options);
    if (options.watch !== true) {
      if (!text.ok) throw new Error(text.failure);
      console.log(text.value);
      return;
    }
    // A box that is being started again is watched too.
    const isInPlace = process.stdout.isTTY && options.json !== true;
    console.log(`${isInPlace ? CLEAR_SCREEN : ''}${text.ok ? text.value : text.failure}`);
    await sleep(systemClock, WATCH_MS);
  }
}

async function statusText(
  config: ApplianceConfig,
  options: Options,
): Promise<Outcome<string, string>> {
  const url = adminUrl(config, '/status');
  const answer = await callJsonOk({ method: 'GET', url, deadlineMs: 3000 });
  if (!answer.ok) {
    const why = answer.failure.detail;
    const failure = `${config.applianceId} does not answer (${why}): is it running?`;
    return { ok: false, failure };
  }
  const found = answer.value as ApplianceStatus;
  return success(options.json === true ? JSON.stringify(found) : describe(found));
}

function adminToken(config: ApplianceConfig): string {
  const file = adminTokenFile(config);
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (thrown) {
    throw new Error(
      `cannot read ${file} (${messageOf(thrown)}): the box makes it at its first start; run this as the box’s user`,
      { cause: thrown },
    );
  }
}

async function call(config: ApplianceConfig, path: string, deadlineMs: number): Promise<unknown> {
  const bearer = adminToken(config);
  const url = adminUrl(config, path);
  const answer = await callJsonOk({ method: 'POST', url, bearer, deadlineMs });
  if (answer.ok) return answer.value;
  throw new Error(`${config.applianceId} does not answer: ${answer.failure.detail}`);
}

/** Where an action lies on the admin listener, and how long it may take. */
async function act(config: ApplianceConfig, name: string, argument: string): Promise<void> {
  const value = encodeURIComponent(
    name === 'explain' ? argument : argument === '' ? '' : path.resolve(argument),
  );
  const paths: Readonly<Record<string, string>> = {
    readmit: `/volumes/readmit?path=${value}`,
    'confirm-manifest': '/manifest?confirm=1',
    adopt: `/adopt?path=${value}`,
    explain: `/explain?file=${value}`,
  };
  const isLong = name === 'scrub' || name === 'adopt';
  const answer = await call(config, paths[name] ?? `/${name}`, isLong ? ACTION_MS_MAX : 3000);
  console.log(JSON.stringify(answer, null, 2));
}

async function drain(options: Options): Promise<void> {
  const config = configOf(options);
  const byMs = options.by === undefined ? null : Date.parse(options.by);
  if (Number.isNaN(byMs)) throw new Error(`--by ${options.by}: no ISO time (2026-11-21T02:00:00Z)`);
  const query = byMs === null ? '' : `?ms=${Math.max(0, byMs - Date.now())}`;
  await call(config, `/drain${query}`, 3000);
  for (;;) {
    const now = (await call(config, '/drain/progress', 3000)) as DrainProgress;
    const eta = now.etaMs === null ? '' : `, ${formatDuration(now.etaMs)} at the latest`;
    console.log(
      now.isSafeToPowerOff
        ? 'safe to power off'
        : `${now.sessionsLeft} sessions left, ${now.answersUnderWay} answers under way${eta}`,
    );
    if (now.isSafeToPowerOff || !now.isDraining || options.wait === false) return;
    await sleep(systemClock, 2000);
  }
}

function describe(found: ApplianceStatus): string {
  const beat = found.heartbeat;
  if (beat === null) return `${found.applianceId}: starting`;
  const { fill, storage, load, counters } = beat;
  const refused = Object.entries(counters.refused).map(([word, count]) => `${word} ${count}`);
  return [
    `${found.applianceId}: ${beat.health.status}, ${beat.state}${found.connectedToControlPlane ? '' : ', control plane not connected'}`,
    ...beat.health.reasons.map((reason) => `  ! ${reason}`),
    `serving   ${formatBps(load.egressBps)} of ${formatBps(load.servingBps)}, ${load.connections} connections, ${load.requestsPerSecond.toFixed(1)} requests/s`,
    `viewers   ${formatBytes(counters.viewerBytes)} in ${counters.viewerRequests} answers; peers ${formatBytes(counters.peerBytesServed)}`,
    `fill      manifest ${fill.manifestVersion}: ${fill.filesHeld} of ${fill.filesWanted} files, ${formatBytes(fill.bytesHeld)} of ${formatBytes(fill.bytesWanted)}, ${formatBps(fill.rateBps)}` +
      (fill.waitingFor === null ? '' : `, waits for ${fill.waitingFor}`),
    ...(fill.problem === null ? [] : [`  ! ${fill.problem}`]),
    `storage   ${formatBytes(storage.usedBytes)} of ${formatBytes(storage.capacityBytes)}: ${formatBytes(storage.pinnedBytes)} planned, ${formatBytes(storage.reactiveBytes)} reactive`,
    `refused   ${refused.length === 0 ? 'nothing' : refused.join(', ')}`,
  ].join('\n');
}
