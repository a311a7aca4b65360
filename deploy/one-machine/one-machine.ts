/**
 * Brings a whole CDN up on this machine, step by step, and takes it down again.
 *
 *   addresses -> secrets -> control plane -> origin, steering, playback -> sites, appliances -> catalogue -> plan -> fill
 *
 * Each step can be repeated on a state directory that has been through it before: a second start finds its keys, its
 * enrolled boxes, its titles and what the boxes hold.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { sleep, systemClock } from '#base/clock.ts';
import { openStateDir } from '#base/io/state-dir.ts';
import { formatBytes } from '#base/units.ts';
import { clearLeftovers, Processes } from './io/processes.ts';
import { whyNotBindable } from './io/addresses.ts';
import { runCommand } from './io/command.ts';
import { FleetClient } from './io/fleet-client.ts';
import { loadOrMakeServiceTokens, tokenFile, writeSecret } from './io/secrets.ts';
import {
  configsOf,
  endpointsOf,
  layoutOf,
  urlOf,
  type Layout,
  type LayoutOptions,
} from './layout.ts';

const STATE_FORMAT = '1';
/** `nightfill plan` held its plan for approval: the boxes keep the last one. */
const PLAN_HELD_STATUS = 3;
const FILL_POLL_MS = 250;
/** A box hears of a new plan with its next heartbeat answer (1 s) and then pulls: until then its old manifest looks complete. */
const MANIFEST_NOTICE_MS = 3_000;
const FILL_STALL_MS = 60_000; // no byte more in this long: say so and go on, the boxes keep trying

export interface Progress {
  say(line: string): void;
  /** A bar: `done` of `total`, in bytes or items; called often. */
  bar(what: string, done: number, total: number, unit: 'bytes' | 'items'): void;
}

export class OneMachine {
  readonly layout: Layout;
  readonly processes: Processes;
  readonly #options: LayoutOptions;
  readonly #program: string;
  #fleet: FleetClient | null = null;

  constructor(options: LayoutOptions, program: string) {
    this.#options = options;
    this.#program = program;
    this.layout = layoutOf(options);
    this.processes = new Processes(options.stateDir, this.layout.logsDir, program);
  }

  get fleet(): FleetClient {
    if (this.#fleet === null) throw new Error('the fleet is not up yet');
    return this.#fleet;
  }

  configFile(name: string): string {
    return path.join(this.layout.configDir, `${name}.json`);
  }

  /** Addresses, ports, state directory. Throws one message that lists everything in the way. */
  async prepare(): Promise<readonly string[]> {
    openStateDir(this.#options.stateDir, STATE_FORMAT);
    const ended = clearLeftovers(this.#options.stateDir);
    if (ended.length > 0) await sleep(systemClock, 200); // the kernel frees their ports
    const inTheWay: string[] = [];
    for (const { what, endpoint, kind } of endpointsOf(this.layout)) {
      const why = await whyNotBindable(endpoint, kind);
      if (why !== null) {
        inTheWay.push(`${endpoint.address}:${endpoint.port} (${what}, ${kind}): ${wordsFor(why)}`);
      }
    }
    if (inTheWay.length > 0) {
      throw new Error(
        `cannot start, these are not free:\n${inTheWay.map((line) => `  - ${line}`).join('\n')}\n` +
          'Stop what uses them, or choose others with --port-base and --address-block.',
      );
    }
    return ended;
  }

  /** Keys, tokens and each service's configuration. */
  async configure(): Promise<void> {
    const { stateDir } = this.#options;
    const { layout } = this;
    if (!existsSync(path.join(layout.keysDir, 'online-keys.jws'))) {
      await runCommand(this.#program, ['keys', 'init', layout.keysDir], () => {});
    }
    const secrets = loadOrMakeServiceTokens(stateDir);
    const rootFingerprint = readFileSync(
      path.join(layout.keysDir, 'root.fingerprint'),
      'utf8',
    ).trim();
    const configs = configsOf(layout, this.#options, {
      ...secrets,
      rootFingerprint,
      planCommand: [this.#program, ...this.#planArguments()],
    });
    mkdirSync(layout.configDir, { recursive: true, mode: 0o700 });
    for (const [name, config] of Object.entries(configs)) {
      writeFileSync(this.configFile(name), `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
    }
    const publish = {
      controlPlaneUrl: urlOf(layout.controlPlane),
      tokenFile: tokenFile(stateDir, 'publish'),
      originDir: layout.originDir,
    };
    writeFileSync(layout.publishFile, `${JSON.stringify(publish, null, 2)}\n`);
    this.#fleet = new FleetClient(layout, secrets.tokens);
  }

  async startServices(): Promise<void> {
    await this.#startService('control-plane');
    await Promise.all(['origin', 'steering', 'playback'].map((name) => this.#startService(name)));
  }

  /** Sites first, then the boxes: each enrols with a token of its own at its first start. */
  async startAppliances(): Promise<void> {
    for (const site of this.layout.sites) await this.fleet.registerSite(site);
    await Promise.all(
      this.layout.appliances.map(({ applianceId }) => this.startAppliance(applianceId)),
    );
  }

  async startAppliance(applianceId: string): Promise<void> {
    const box = this.layout.appliances.find((one) => one.applianceId === applianceId);
    if (box === undefined) throw new Error(`there is no appliance ${applianceId}`);
    if (!existsSync(box.tokenFile))
      writeSecret(box.tokenFile, await this.fleet.enrolmentToken(box));
    const config = this.configFile(applianceId);
    await this.processes.start(applianceId, ['appliance', '--config', config]);
  }

  /** Publishes the sample and a generated catalogue when there is no title yet. True when it did. */
  async publishCatalogue(catalogue: string | null, progress: Progress): Promise<boolean> {
    if ((await this.fleet.titles()).length > 0) return false;
    const publish = (...args: readonly string[]): Promise<void> =>
      runCommand(this.#program, ['publish', ...args, '--state', this.#options.stateDir], (line) =>
        progress.say(line),
      );
    await publish('--sample');
    if (catalogue !== null) await publish('--opaque', catalogue);
    return true;
  }

  async plan(progress: Progress): Promise<void> {
    await runCommand(this.#program, this.#planArguments(), (line) => progress.say(line), [
      0,
      PLAN_HELD_STATUS,
    ]);
  }

  /** Waits until every box holds what its manifest wants. Returns false when the fill stalls. */
  async waitForFill(progress: Progress): Promise<boolean> {
    let best = -1;
    const startedMs = systemClock.monotonicMs();
    let bestAtMs = startedMs;
    for (;;) {
      const boxes = await Promise.all(
        this.layout.appliances.map((box) => this.fleet.boxStatus(box)),
      );
      const wanted = sumOf(boxes.map((box) => box?.bytesWanted ?? 0));
      const held = sumOf(boxes.map((box) => box?.bytesHeld ?? 0));
      const isComplete = boxes.every(
        (box) => box !== null && box.manifestVersion > 0 && box.filesHeld >= box.filesWanted,
      );
      progress.bar('fill', held, wanted, 'bytes');
      const nowMs = systemClock.monotonicMs();
      if (isComplete && nowMs - startedMs >= MANIFEST_NOTICE_MS) return true;
      if (held > best) {
        best = held;
        bestAtMs = nowMs;
      } else if (nowMs - bestAtMs > FILL_STALL_MS) {
        const problems = boxes.map((box, at) => {
          const { applianceId } = this.layout.appliances[at];
          return `${applianceId}: ${box === null ? 'does not answer' : (box.problem ?? 'no problem reported')}`;
        });
        progress.say(
          `fill stands at ${formatBytes(held)} of ${formatBytes(wanted)}: ${problems.join('; ')}`,
        );
        return false;
      }
      await sleep(systemClock, FILL_POLL_MS);
    }
  }

  /** Boxes leave first: what they report last is taken in, and nobody is alarmed by their going. */
  stop(): Promise<readonly string[]> {
    return this.processes.stopAll(this.layout.appliances.map(({ applianceId }) => applianceId));
  }

  /** Starts one that had ended, whichever it is. */
  startAgain(name: string): Promise<void> {
    const isBox = this.layout.appliances.some(({ applianceId }) => applianceId === name);
    return isBox ? this.startAppliance(name) : this.#startService(name);
  }

  #startService(name: string): Promise<void> {
    return this.processes.start(name, [name, '--config', this.configFile(name)]);
  }

  #planArguments(): readonly string[] {
    return [
      'plan',
      '--control-plane',
      urlOf(this.layout.controlPlane),
      '--token-file',
      tokenFile(this.#options.stateDir, 'planner'),
      '--key-file',
      path.join(this.layout.keysDir, 'plan.jwk'),
      // Nights are kept there: a plan that gives up much against yesterday's waits for approval.
      '--state',
      path.join(this.#options.stateDir, 'plans'),
    ];
  }
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function wordsFor(code: string): string {
  if (code === 'EADDRINUSE') return 'in use by another program';
  if (code === 'EADDRNOTAVAIL') return 'this machine has no such address';
  if (code === 'EACCES') return 'not permitted for this user';
  return code;
}
