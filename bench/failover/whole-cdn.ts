/**
 * A whole CDN for the players of the bench: `nightfill up` on loopback addresses of its own, whose boxes can be killed, stopped and drained.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');
const READY_MS_MAX = 120_000;
const BACK_MS_MAX = 30_000;

interface BoxConfig {
  readonly publicBaseUrl: string;
  readonly admin: { readonly address: string; readonly port: number };
}

export class WholeCdn implements AsyncDisposable {
  readonly #stateDir: string;
  readonly #up: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #restarted = new Map<string, ChildProcess>();
  readonly viewerAddress: string; // at home in the first site
  pagesUrl = '';
  playbackUrl = '';
  titleId = '';

  private constructor(share: number) {
    this.#stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-failover-'));
    const block = `127.${160 + share}`;
    this.viewerAddress = `${block}.3.1`;
    const where = ['--address-block', block, '--port-base', String(17_000 + share * 100)];
    const how = ['up', '--no-catalogue', '--no-restart', '--state', this.#stateDir];
    this.#up = spawn(PROGRAM, [...how, ...where], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#exited = new Promise((resolve) => {
      this.#up.once('exit', () => resolve());
    });
  }

  /** With the sample title, which every box holds when this resolves. */
  static async start(): Promise<WholeCdn> {
    const cdn = new WholeCdn(process.pid % 60);
    try {
      await cdn.#ready();
    } catch (thrown) {
      await cdn[Symbol.asyncDispose]();
      throw thrown;
    }
    return cdn;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#restarted.values()) child.kill('SIGKILL');
    this.#up.kill('SIGTERM');
    await this.#exited;
    rmSync(this.#stateDir, { recursive: true, force: true });
  }

  async #ready(): Promise<void> {
    let said = '';
    for (const output of [this.#up.stdout, this.#up.stderr]) {
      output?.on('data', (part: Buffer) => (said += part.toString()));
    }
    await until('"nightfill up" to be ready', READY_MS_MAX, () => {
      if (this.#up.exitCode !== null) throw new Error(`"nightfill up" ended:\n${said}`);
      this.pagesUrl = /^\s+fleet\s+(http:\/\/\S+)\/$/m.exec(said)?.[1] ?? '';
      return Promise.resolve(this.pagesUrl !== '');
    });
    const config = (await (await fetch(`${this.pagesUrl}/watch/config.json`)).json()) as {
      playbackUrl: string;
      titles: { titleId: string }[];
    };
    this.playbackUrl = config.playbackUrl;
    this.titleId = config.titles[0].titleId;
    this.#started = this.#pids();
  }

  /** The box that a URL leads to; null where it is none. */
  boxAt(url: string): string | null {
    const { origin } = new URL(url);
    return this.#boxes().find((id) => this.#config(id).publicBaseUrl === origin) ?? null;
  }

  kill(box: string): void {
    process.kill(this.#pid(box), 'SIGKILL');
  }

  /** The host falls silent: connections are accepted, and nothing is ever said. */
  silence(box: string): void {
    process.kill(this.#pid(box), 'SIGSTOP');
  }

  wake(box: string): void {
    process.kill(this.#pid(box), 'SIGCONT');
  }

  async act(box: string, action: string): Promise<void> {
    const { address, port } = this.#config(box).admin;
    await fetch(`http://${address}:${port}/${action}`, { method: 'POST' });
  }

  restart(box: string): void {
    const file = path.join(this.#stateDir, 'config', `${box}.json`);
    const child = spawn(PROGRAM, ['appliance', '--config', file], { stdio: 'ignore' });
    this.#restarted.set(box, child);
  }

  /** Waits until viewers are sent to the box again. */
  async untilServing(box: string): Promise<void> {
    await until(`${box} to serve again`, BACK_MS_MAX, () => this.isAnswered(box));
  }

  /** Whether the box is in a new answer for the viewer. */
  async isAnswered(box: string): Promise<boolean> {
    const url = `${this.playbackUrl}/play/${this.titleId}.json?client=${this.viewerAddress}`;
    const answer = (await (await fetch(url)).json()) as {
      play: { files: { urls: { pathwayId: string }[] }[] };
    };
    return answer.play.files.some(({ urls }) => urls.some(({ pathwayId }) => pathwayId === box));
  }

  #boxes(): readonly string[] {
    return Object.keys(this.#started).filter((name) => /-\d+$/.test(name));
  }

  /** As they were at the start: what died since is restarted here. */
  #started: Record<string, number> = {};

  #pids(): Record<string, number> {
    const text = readFileSync(path.join(this.#stateDir, 'pids.json'), 'utf8');
    return (JSON.parse(text) as { pids: Record<string, number> }).pids;
  }

  #pid(box: string): number {
    const pid = this.#restarted.get(box)?.pid ?? this.#started[box];
    if (pid === undefined) throw new Error(`${box} does not run`);
    return pid;
  }

  #config(box: string): BoxConfig {
    return JSON.parse(
      readFileSync(path.join(this.#stateDir, 'config', `${box}.json`), 'utf8'),
    ) as BoxConfig;
  }
}

export async function until(
  what: string,
  msMax: number,
  holds: () => Promise<boolean>,
): Promise<void> {
  const deadlineMs = performance.now() + msMax;
  while (
    !(await holds().catch((thrown: unknown) => {
      if (thrown instanceof Error && thrown.message.includes('ended')) throw thrown;
      return false;
    }))
  ) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${msMax} ms in vain for ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}
