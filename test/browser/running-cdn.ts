/**
 * A whole CDN of its own for a test in a browser: `nightfill up` in a fresh state directory, on loopback addresses
 * and ports that follow the test's process id, and a headless Chromium.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before } from 'node:test';
import { chromium, type Browser, type Page } from 'playwright-core';

export const WAIT_MS = 60_000; // a bound on waiting for something to happen; nothing is asserted about time

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');
const READY_MS = 120_000;
const STOP_MS = 20_000;
const CHROMIUM_PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const CHROMIUM_ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];

/** The part of `GET /v1/fleet/view` that these tests look at. */
export interface Fleet {
  readonly sites: readonly {
    readonly siteId: string;
    readonly appliances: readonly { readonly applianceId: string; readonly baseUrl: string }[];
  }[];
}

export interface RunningCdn {
  readonly pagesUrl: string; // without a slash at the end
  readonly playUrl: string; // of the sample on the playback service: a manifest's name follows, then `?client=`
  readonly viewerAddress: string; // at home in the first site
  /** The process of an appliance or a service, as the state directory names it. */
  kill9(name: string): void;
  /** Has exactly these appliances alive: kills others, starts those that were killed, waits until new viewings see it. */
  haveAlive(applianceIds: readonly string[]): Promise<void>;
  fleet(): Promise<Fleet>;
  /** The control plane's API, as whoever holds the token of this name. Throws on a refusal. */
  call(method: string, route: string, who?: string, body?: unknown): Promise<unknown>;
  stop(): Promise<void>;
}

/** Why a browser test cannot run here, or false. */
export function whyNoBrowser(): string | false {
  return browserPath() === null
    ? 'no Chromium here: on Debian or Ubuntu, apt-get install chromium'
    : false;
}

function browserPath(): string | null {
  return CHROMIUM_PATHS.find((candidate) => existsSync(candidate)) ?? null;
}

export async function startBrowser(): Promise<Browser> {
  const executablePath = browserPath() ?? undefined;
  return chromium.launch({ executablePath, args: CHROMIUM_ARGS });
}

/** A page that collects what goes wrong in it. */
export async function openPage(
  browser: Browser,
  url: string,
): Promise<{ readonly page: Page; readonly errors: readonly string[] }> {
  const page = await browser.newPage({ viewport: { width: 1366, height: 768 } });
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(url);
  return { page, errors };
}

/** Starts the CDN with the sample title only, and waits until every box holds its manifest. */
export async function startCdn(): Promise<RunningCdn> {
  const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-browser-'));
  const share = process.pid % 100;
  const block = `127.${100 + share}`;
  const where = ['--address-block', block, '--port-base', String(20_000 + share * 100)];
  const up = spawn(
    PROGRAM,
    ['up', '--no-catalogue', '--no-restart', '--state', stateDir, ...where],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const said: string[] = [];
  const exited = new Promise<void>((resolve) => {
    up.once('exit', () => resolve());
  });
  const boxes = new BoxProcesses(stateDir);
  const stop = async (): Promise<void> => {
    boxes.stopRestarted();
    up.kill('SIGTERM');
    const timer = setTimeout(() => up.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(timer);
    rmSync(stateDir, { recursive: true, force: true });
  };
  const ready = new Promise<string>((resolve) => {
    for (const output of [up.stdout, up.stderr]) {
      createInterface({ input: output }).on('line', (line) => {
        said.push(line);
        const url = /^\s+fleet\s+(http:\/\/\S+)\/$/.exec(line)?.[1];
        if (url !== undefined) resolve(url);
      });
    }
  });
  const late = AbortSignal.timeout(READY_MS);
  const pagesUrl = await Promise.race([
    ready,
    exited.then(() => null),
    new Promise<null>((resolve) => {
      late.addEventListener('abort', () => resolve(null));
    }),
  ]);
  if (pagesUrl === null) {
    await stop();
    throw new Error(`"nightfill up" did not come up. It said:\n${said.join('\n')}`);
  }
  const viewerAddress = `${block}.3.1`;
  const page = await fetch(`${pagesUrl}/watch/config.json`);
  const { playbackUrl, titles } = (await page.json()) as {
    playbackUrl: string;
    titles: { titleId: string }[];
  };
  const playUrl = `${playbackUrl}/play/${titles[0].titleId}`;
  return {
    pagesUrl,
    playUrl,
    viewerAddress,
    kill9: (name) => boxes.kill9(name),
    async haveAlive(applianceIds) {
      boxes.haveAlive(applianceIds);
      await until(`new viewings to be sent to ${applianceIds.join(', ')}`, async () => {
        const answer = await fetch(`${playUrl}.json?client=${viewerAddress}`);
        const { play } = (await answer.json()) as {
          play: { files: { urls: { pathwayId: string; kind: string }[] }[] };
        };
        const named = play.files.flatMap(({ urls }) =>
          urls.filter(({ kind }) => kind === 'appliance').map(({ pathwayId }) => pathwayId),
        );
        return [...new Set(named)].sort().join() === [...applianceIds].sort().join();
      });
    },
    async fleet() {
      const answer = await fetch(`${pagesUrl}/v1/fleet/view`);
      return (await answer.json()) as Fleet;
    },
    async call(method, route, who, body) {
      const headers: Record<string, string> = {};
      if (who !== undefined) {
        const token = readFileSync(path.join(stateDir, 'tokens', `${who}.token`), 'utf8');
        headers['authorization'] = `Bearer ${token.trim()}`;
      }
      if (body !== undefined) headers['content-type'] = 'application/json';
      const answer = await fetch(`${pagesUrl}${route}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${method} ${route}: ${answer.status} ${text}`);
      return text === '' ? null : (JSON.parse(text) as unknown);
    },
    stop,
  };
}

/** Waits until something holds; what it throws meanwhile counts as not yet. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS;
  let last: unknown;
  const holdsNow = (): Promise<boolean> =>
    holds().catch((thrown: unknown) => {
      last = thrown;
      return false;
    });
  while (!(await holdsNow())) {
    if (performance.now() > deadlineMs) {
      throw new Error(`waited in vain for ${what}`, { cause: last });
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}

/** The processes of one `nightfill up`, which leaves those that died as they are: what is started again is ours to stop. */
class BoxProcesses {
  readonly #stateDir: string;
  readonly #killed = new Set<string>();
  readonly #restarted = new Map<string, ChildProcess>();

  constructor(stateDir: string) {
    this.#stateDir = stateDir;
  }

  kill9(name: string): void {
    const pid = this.#restarted.get(name)?.pid ?? this.#pids()[name];
    if (pid === undefined) throw new Error(`${name} does not run`);
    process.kill(pid, 'SIGKILL');
    this.#killed.add(name);
  }

  haveAlive(applianceIds: readonly string[]): void {
    const configs = readdirSync(path.join(this.#stateDir, 'config'));
    const names = configs.map((file) => path.basename(file, '.json'));
    for (const name of names.filter((one) => /-\d+$/.test(one))) {
      const isWanted = applianceIds.includes(name);
      if (!isWanted && !this.#killed.has(name)) this.kill9(name);
      if (isWanted && this.#killed.delete(name)) {
        const file = path.join(this.#stateDir, 'config', `${name}.json`);
        const argv = ['appliance', '--config', file];
        this.#restarted.set(name, spawn(PROGRAM, argv, { stdio: 'ignore' }));
      }
    }
  }

  stopRestarted(): void {
    for (const child of this.#restarted.values()) child.kill('SIGKILL');
  }

  #pids(): Readonly<Record<string, number>> {
    const text = readFileSync(path.join(this.#stateDir, 'pids.json'), 'utf8');
    return (JSON.parse(text) as { pids: Record<string, number> }).pids;
  }
}

/** One CDN and one browser for all tests of a file, started before the first and stopped after the last. */
export function cdnInBrowser(): {
  readonly skip: string | false;
  readonly cdn: () => RunningCdn;
  readonly browser: () => Browser;
} {
  const skip = whyNoBrowser();
  let running: { readonly cdn: RunningCdn; readonly browser: Browser } | null = null;
  before(
    async () => {
      if (skip === false) running = { cdn: await startCdn(), browser: await startBrowser() };
    },
    { timeout: 180_000 },
  );
  after(async () => {
    await running?.browser.close();
    await running?.cdn.stop();
  });
  const started = (): { readonly cdn: RunningCdn; readonly browser: Browser } => {
    if (running === null) throw new Error('asked for before the first test began');
    return running;
  };
  return { skip, cdn: () => started().cdn, browser: () => started().browser };
}
