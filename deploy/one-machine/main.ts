/**
 * `nightfill up`: the whole CDN on this machine, as separate processes. `--demo` adds viewers, `--check` proves it headless.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { createLogger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import { formatDuration } from '#base/units.ts';
import { runCheck } from './check.ts';
import { hasLoopbackBlock } from './io/addresses.ts';
import { terminalProgress } from './io/terminal.ts';
import {
  CHECK_CATALOGUE,
  CHECK_REACTIVE_SHARE,
  CHECK_STORAGE_BYTES,
  DEMO_CATALOGUE,
  DEMO_REACTIVE_SHARE,
  DEMO_STORAGE_BYTES,
  urlOf,
} from './layout.ts';
import { OneMachine, type Progress } from './one-machine.ts';
import { startViewers } from './synthetic-viewers.ts';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');
const UP_ADDRESS_BLOCK = '127.0';
const UP_PORT_BASE = 7700;
const CHECK_ADDRESS_BLOCK = '127.99';
const CHECK_PORT_BASE = 17_700;
const RESTART_AFTER_MS = 20_000;
const TITLES_REFRESH_MS = 10_000;

interface UpOptions {
  readonly demo?: true;
  readonly check?: true;
  readonly state?: string;
  readonly addressBlock?: string;
  readonly portBase?: number;
  readonly catalogue: string | false;
  readonly restart: boolean;
}

export function addCommands(program: Command): void {
  program
    .command('up')
    .description(
      'starts a whole CDN on this machine: origin, control plane, steering, playback, three appliances',
    )
    .option('--demo', 'also run a few synthetic viewers, so that the numbers move')
    .option(
      '--check',
      'headless proof: fill, play, kill an appliance, compare every byte; then stop',
    )
    .option('--state <dir>', 'state directory (default: $NIGHTFILL_STATE or ./.nightfill)')
    .option(
      '--address-block <a.b>',
      'first two octets of the loopback addresses to use',
      addressBlock,
    )
    .option(
      '--port-base <port>',
      'first port; 80 above it is the appliances’ shared port',
      portBase,
    )
    .option('--catalogue <spec>', 'generated titles (see publish --opaque)', DEMO_CATALOGUE)
    .option('--no-catalogue', 'the sample title only')
    .option('--no-restart', 'leave a process that died as it is')
    .action(async (options: UpOptions) => {
      if (options.check === true) await check(options);
      else await up(options);
    });
}

async function up(options: UpOptions): Promise<void> {
  const startedMs = performance.now();
  const progress = terminalProgress();
  const stateDir = path.resolve(options.state ?? process.env['NIGHTFILL_STATE'] ?? '.nightfill');
  const machine = await makeMachine(options, stateDir, 'up', progress);
  const stopped = new AbortController();
  const stopViewers: { run: () => Promise<void> } = { run: async () => {} };
  let isStopping = false;
  const stop = async (why: string): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    progress.say(`stopping (${why})`);
    await stopViewers.run();
    const killed = await machine.stop();
    progress.say(killed.length === 0 ? 'stopped' : `stopped; had to kill ${killed.join(', ')}`);
    stopped.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop(signal));
  const finished = new Promise<void>((resolve) => {
    stopped.signal.addEventListener('abort', () => resolve());
  });
  try {
    await bringUp(machine, options.catalogue === false ? null : options.catalogue, progress);
  } catch (thrown) {
    if (isStopping) return finished; // Ctrl-C during the start: what broke off is no news
    await machine.stop();
    throw thrown;
  }
  if (isStopping) return finished;
  supervise(machine, options.restart, () => isStopping, progress);
  if (options.demo === true) stopViewers.run = await startDemoViewers(machine);
  announce(machine, options, performance.now() - startedMs, progress);
  return finished;
}

async function check(options: UpOptions): Promise<void> {
  const progress = terminalProgress({ plain: true });
  const ownState = options.state === undefined;
  const stateDir = path.resolve(
    options.state ?? mkdtempSync(path.join(os.tmpdir(), 'nightfill-check-')),
  );
  const machine = await makeMachine(options, stateDir, 'check', progress);
  const interrupted = (): void => {
    void machine.stop().then(() => process.exit(130));
  };
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  try {
    await bringUp(machine, CHECK_CATALOGUE, progress);
    const report = await runCheck({
      layout: machine.layout,
      fleet: machine.fleet,
      planDate: new Date().toISOString().slice(0, 10),
      kill: (applianceId) => machine.processes.kill9(applianceId),
      say: (line) => progress.say(line),
    });
    await machine.stop();
    if (ownState && report.ok) rmSync(stateDir, { recursive: true, force: true });
    for (const failure of report.failures) progress.say(`FAILED: ${failure}`);
    if (!report.ok) {
      progress.say(`state and logs are kept in ${stateDir}`);
      process.exitCode = 1;
    }
    console.log(JSON.stringify(report));
  } catch (thrown) {
    await machine.stop();
    progress.say(`state and logs are kept in ${stateDir}`);
    console.log(JSON.stringify({ ok: false, failures: [messageOf(thrown)] }));
    process.exitCode = 1;
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
  }
}

async function makeMachine(
  options: UpOptions,
  stateDir: string,
  purpose: 'up' | 'check',
  progress: Progress,
): Promise<OneMachine> {
  const isCheck = purpose === 'check';
  const block = options.addressBlock ?? (isCheck ? CHECK_ADDRESS_BLOCK : UP_ADDRESS_BLOCK);
  const sharedAddress = !(await hasLoopbackBlock(block));
  if (sharedAddress) {
    progress.say(
      `only 127.0.0.1 exists here (${block}.1.1 cannot be bound): boxes get ports instead of addresses. ` +
        'Off: DNS answers that lead to a box, steering clones by host, homes by client prefix.',
    );
  }
  return new OneMachine(
    {
      stateDir,
      addressBlock: block,
      portBase: options.portBase ?? (isCheck ? CHECK_PORT_BASE : UP_PORT_BASE),
      sharedAddress,
      storageBytes: isCheck ? CHECK_STORAGE_BYTES : DEMO_STORAGE_BYTES,
      reactiveShare: isCheck ? CHECK_REACTIVE_SHARE : DEMO_REACTIVE_SHARE,
    },
    PROGRAM,
  );
}

async function bringUp(
  machine: OneMachine,
  catalogue: string | null,
  progress: Progress,
): Promise<void> {
  const ended = await machine.prepare();
  if (ended.length > 0) progress.say(`ended what an earlier run left behind: ${ended.join(', ')}`);
  await machine.configure();
  progress.say(`state in ${machine.layout.stateDir}`);
  await machine.startServices();
  progress.say('control plane, origin, steering and playback are up');
  await machine.startAppliances();
  for (const site of machine.layout.sites) {
    const boxes = machine.layout.appliances.filter((box) => box.siteId === site.siteId);
    const names = boxes.map(
      (box) =>
        `${box.applianceId} (pid ${machine.processes.pidOf(box.applianceId)}, ${box.baseUrl})`,
    );
    progress.say(
      `${site.name}: ${names.join(', ')}; serves ${site.clusters[0].prefixes.join(', ')}`,
    );
  }
  if (await machine.publishCatalogue(catalogue, progress)) progress.say('catalogue published');
  await machine.plan(progress);
  const isFilled = await machine.waitForFill(progress);
  progress.say(isFilled ? 'every box holds its manifest' : 'the fill goes on in the background');
}

/** A process that dies is told, and started again after a while: long enough to see viewers move away and come back. */
function supervise(
  machine: OneMachine,
  restart: boolean,
  isStopping: () => boolean,
  progress: Progress,
): void {
  const again = (name: string): void => {
    setTimeout(() => {
      if (isStopping()) return;
      machine.startAgain(name).then(
        () => progress.say(`${name} is back (pid ${machine.processes.pidOf(name)})`),
        (thrown: unknown) => {
          if (isStopping()) return;
          progress.say(`${name} did not come back, it is tried again: ${messageOf(thrown)}`);
          again(name);
        },
      );
    }, RESTART_AFTER_MS).unref();
  };
  machine.processes.onUnexpectedExit = ({ name, code, signal }) => {
    const what = `${name} died (${signal ?? `status ${code}`})`;
    const log = path.join(machine.layout.logsDir, `${name}.log`);
    const then = restart ? `started again in ${RESTART_AFTER_MS / 1000} s` : 'left as it is';
    progress.say(`${what}; ${then}; its log: ${log}`);
    if (restart) again(name);
  };
}

async function startDemoViewers(machine: OneMachine): Promise<() => Promise<void>> {
  let titleIds: readonly string[] = [];
  const refresh = async (): Promise<void> => {
    try {
      titleIds = (await machine.fleet.titles()).map((title) => title.titleId);
    } catch {
      // The control plane may be down: viewers go on with the titles that they know.
    }
  };
  await refresh();
  const timer = setInterval(() => void refresh(), TITLES_REFRESH_MS);
  const stop = startViewers({
    playbackUrl: urlOf(machine.layout.playback),
    addresses: machine.layout.viewerAddresses,
    bindAddresses: !machine.layout.sharedAddress,
    titleIds: () => titleIds,
    log: createLogger('viewers', 'silent'),
  });
  return async () => {
    clearInterval(timer);
    await stop();
  };
}

function announce(
  machine: OneMachine,
  options: UpOptions,
  elapsedMs: number,
  progress: Progress,
): void {
  const { layout } = machine;
  const pages = urlOf(layout.controlPlane);
  const { address, port, zone } = layout.dns;
  progress.say(`ready after ${formatDuration(elapsedMs)}`);
  progress.say(`  fleet    ${pages}/`);
  progress.say(`  watch    ${pages}/watch`);
  progress.say(
    `  dns      dig @${address} -p ${port} v.${zone} +subnet=${layout.viewerAddresses[0]}/32`,
  );
  progress.say(
    `  publish  bin/nightfill publish FILE${options.state === undefined ? '' : ` --state ${options.state}`}`,
  );
  progress.say('  a test   kill -9 one of the appliance pids above while something plays');
  progress.say('  stop     Ctrl-C');
}

function addressBlock(text: string): string {
  if (!/^127\.(25[0-5]|2[0-4]\d|1?\d?\d)$/.test(text)) {
    throw new InvalidArgumentError('two octets of 127.0.0.0/8, for example 127.0');
  }
  return text;
}

function portBase(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1024 || port > 65_000) {
    throw new InvalidArgumentError('a port from 1024 to 65000');
  }
  return port;
}
