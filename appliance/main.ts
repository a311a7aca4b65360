/**
 * `nightfill appliance`: the cache daemon of one box, and the commands that talk to it.
 */
import type { Command } from 'commander';
import { systemClock } from '#base/clock.ts';
import { ConfigProblem, readConfigFile } from '#base/config.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import { createLogger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import { systemRandom } from '#base/random.ts';
import { formatBps, formatBytes } from '#base/units.ts';
import type { ApplianceStatus } from './contract.ts';
import { ApplianceConfigSchema, configProblems, type ApplianceConfig } from './config.ts';

const STOP_MS_MAX = 2800;
/** libuv's default of 4 threads would queue reads behind syncs; data-plane.md measured 32. */
const IO_THREADS = 32;

interface Options {
  readonly config?: string;
  readonly checkConfig?: boolean;
  readonly json?: boolean;
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
    .action((_: Options, command: Command) => {
      const options: Options = command.optsWithGlobals();
      return status(configOf(options), options);
    });
  for (const verb of ['drain', 'undrain'] as const) {
    appliance
      .command(verb)
      .description(verb === 'drain' ? 'send new viewers elsewhere' : 'take new viewers again')
      .action((_: Options, command: Command) => post(configOf(command.optsWithGlobals()), verb));
  }
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
  const log = createLogger('appliance', config.logLevel);
  const abort = new AbortController();
  let stop: (() => Promise<void>) | null = null;
  const onSignal = (): void => {
    abort.abort();
    setTimeout(() => process.exit(0), STOP_MS_MAX).unref();
    if (stop === null) return;
    void stop().then(() => process.exit(0));
  };
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  try {
    const box = await startAppliance({
      config,
      clock: systemClock,
      random: systemRandom,
      log,
      signal: abort.signal,
    });
    stop = () => box.stop();
    if (abort.signal.aborted) return onSignal();
    log.info(
      { event: 'ready', applianceId: config.applianceId, listen: box.content, admin: box.admin },
      `${config.applianceId} serves on ${box.content.address}:${box.content.port}`,
    );
  } catch (thrown) {
    console.error(`nightfill appliance: ${messageOf(thrown)}`);
    process.exit(abort.signal.aborted ? 0 : 1);
  }
}

function adminUrl(config: ApplianceConfig, path: string): string {
  const { address, port } = config.admin;
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}${path}`;
}

async function status(config: ApplianceConfig, options: Options): Promise<void> {
  const url = adminUrl(config, '/status');
  const answer = await callJsonOk({ method: 'GET', url, deadlineMs: 3000 });
  if (!answer.ok) {
    throw new Error(
      `${config.applianceId} does not answer (${answer.failure.detail}): is it running?`,
    );
  }
  const found = answer.value as ApplianceStatus;
  console.log(options.json === true ? JSON.stringify(found) : describe(found));
}

async function post(config: ApplianceConfig, verb: 'drain' | 'undrain'): Promise<void> {
  const url = adminUrl(config, `/${verb}`);
  const answer = await callJsonOk({ method: 'POST', url, deadlineMs: 3000 });
  if (!answer.ok)
    throw new Error(`${config.applianceId} does not answer: ${answer.failure.detail}`);
  console.log(JSON.stringify(answer.value));
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
