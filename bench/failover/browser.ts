/**
 * Whole players in a real browser, against a whole CDN: the box that serves them is killed, falls silent or drains while less than
 * 2 s are buffered, and what the viewer sees of it is written down.
 *
 *   page opened --first bytes of video from box A, less than 2 s buffered--> fault at A --first bytes from another box--> playing on
 *
 * Units: milliseconds from the fault to the first answer of another box; seconds that the picture stood still until 4 s more were played.
 */
import { existsSync } from 'node:fs';
import { chromium, type Browser, type Page } from 'playwright-core';
import { medianOf, quantileOf } from './figures.ts';
import { PlayerPages, type PlayerName } from './player-page.ts';
import { until, WholeCdn } from './whole-cdn.ts';

export type BrowserFault = 'kill' | 'silent' | 'drain-404';

export interface BrowserSpec {
  readonly kitRuns: number;
  readonly stockRuns: number;
  readonly faults: readonly BrowserFault[];
  readonly starts: number; // per player, without a fault
}

export interface BrowserRow {
  readonly player: PlayerName;
  readonly kit: boolean;
  readonly fault: BrowserFault;
  readonly runs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  readonly rebufferSeconds: number; // mean
  readonly givenUp: number; // runs that did not go on within RUN_MS_MAX: counted with that
}

export interface BrowserResult {
  readonly rows: readonly BrowserRow[];
  readonly excludedMs: { readonly killed: number | null; readonly silent: number | null };
  readonly starts: readonly object[];
}

interface Run {
  readonly gapMs: number;
  readonly stalledSeconds: number;
  readonly isGivenUp: boolean;
}

const CHROMIUM = '/usr/bin/chromium';
const CHROMIUM_ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--autoplay-policy=no-user-gesture-required',
];
const RUN_MS_MAX = 30_000;
const PLAYED_AFTER_SECONDS = 4;
const START_MS_MAX = 20_000;
const CONTENT = /\/t\/[^/]+\/[\w-]{43}(\?|$)/;

export function whyNoBrowser(): string | null {
  return existsSync(CHROMIUM)
    ? null
    : 'Chromium is missing: apt-get install --no-install-recommends chromium';
}

class BrowserBench {
  readonly #cdn: WholeCdn;
  readonly #pages: PlayerPages;
  readonly #browser: Browser;
  readonly excluded = { kill: [] as number[], silent: [] as number[] };

  constructor(cdn: WholeCdn, pages: PlayerPages, browser: Browser) {
    this.#cdn = cdn;
    this.#pages = pages;
    this.#browser = browser;
  }

  async row(player: PlayerName, fault: BrowserFault, runs: number): Promise<BrowserRow> {
    const all: Run[] = [];
    for (let at = 0; at < runs; at++) {
      const run = await this.#run(player, fault);
      all.push(run);
      console.error(`${player}, ${fault}, run ${at + 1}: ${JSON.stringify(run)}`);
    }
    const gaps = all.map(({ gapMs }) => gapMs);
    return {
      player,
      kit: player === 'hls-kit',
      fault,
      runs,
      p50Ms: Math.round(medianOf(gaps)),
      p99Ms: Math.round(quantileOf(gaps, 0.99)),
      worstMs: Math.round(Math.max(...gaps)),
      rebufferSeconds: Number(
        (all.reduce((sum, { stalledSeconds }) => sum + stalledSeconds, 0) / runs).toFixed(2),
      ),
      givenUp: all.filter(({ isGivenUp }) => isGivenUp).length,
    };
  }

  /** Play to first frame, and how long the picture stood, without any fault. */
  async starts(player: PlayerName, runs: number): Promise<object> {
    const frames: number[] = [];
    let stalledMs = 0;
    for (let at = 0; at < runs; at++) {
      const page = await this.#open(player);
      await page.waitForFunction('window.look().at > 4', undefined, { timeout: START_MS_MAX });
      const look = await lookAt(page);
      frames.push(look.firstFrameMs ?? START_MS_MAX);
      stalledMs += look.stalledMs;
      await page.close();
    }
    return {
      player,
      starts: runs,
      firstFrameP50Ms: Math.round(medianOf(frames)),
      firstFrameWorstMs: Math.round(Math.max(...frames)),
      rebufferRatio: Number((stalledMs / (runs * 4000)).toFixed(4)),
    };
  }

  async #run(player: PlayerName, fault: BrowserFault): Promise<Run> {
    const page = await this.#browser.newPage();
    const seen = { victim: null as string | null, faultAtMs: Infinity, nextAtMs: Infinity };
    const faulted = new Promise<void>((resolve) => {
      page.on('response', (response) => {
        if (!CONTENT.test(response.url()) || response.status() !== 206) return;
        const box = this.#cdn.boxAt(response.url());
        if (
          seen.victim === null &&
          box !== null &&
          response.request().headers()['range'] !== undefined
        ) {
          seen.victim = box;
          seen.faultAtMs = performance.now();
          void this.#inject(fault, box).then(resolve);
        } else if (box !== seen.victim && performance.now() > seen.faultAtMs) {
          seen.nextAtMs = Math.min(seen.nextAtMs, performance.now());
        }
      });
    });
    await page.goto(this.#urlOf(player));
    await faulted;
    const { victim, faultAtMs } = seen;
    if (victim === null) throw new Error('no box served the player');
    const excluded = fault === 'drain-404' ? null : this.#exclusion(fault, victim, faultAtMs);
    let isGivenUp = false;
    await until(
      'the player to play on',
      RUN_MS_MAX,
      async () => (await lookAt(page)).at > PLAYED_AFTER_SECONDS && seen.nextAtMs < Infinity,
    ).catch(() => {
      isGivenUp = true;
    });
    const look = await lookAt(page);
    // Nothing was played before the fault: what passed beyond the playing itself is what the viewer waited.
    const waitedSeconds =
      (performance.now() - faultAtMs) / 1000 - Math.min(look.at, PLAYED_AFTER_SECONDS);
    await page.close();
    await excluded;
    await this.#mend(fault, victim);
    return {
      gapMs: Math.min(RUN_MS_MAX, seen.nextAtMs - faultAtMs),
      stalledSeconds: Number(Math.max(0, waitedSeconds).toFixed(2)),
      isGivenUp,
    };
  }

  async #inject(fault: BrowserFault, box: string): Promise<void> {
    if (fault === 'kill') this.#cdn.kill(box);
    else if (fault === 'silent') this.#cdn.silence(box);
    else await this.#cdn.act(box, 'drain?ms=0');
  }

  async #mend(fault: BrowserFault, box: string): Promise<void> {
    if (fault === 'kill') this.#cdn.restart(box);
    else if (fault === 'silent') this.#cdn.wake(box);
    else await this.#cdn.act(box, 'undrain');
    await this.#cdn.untilServing(box);
  }

  /** How long new answers still name the box. */
  async #exclusion(fault: 'kill' | 'silent', box: string, faultAtMs: number): Promise<void> {
    await until(
      'the box to leave new answers',
      RUN_MS_MAX,
      async () => !(await this.#cdn.isAnswered(box)),
    );
    this.excluded[fault].push(performance.now() - faultAtMs);
  }

  async #open(player: PlayerName): Promise<Page> {
    const page = await this.#browser.newPage();
    await page.goto(this.#urlOf(player));
    return page;
  }

  #urlOf(player: PlayerName): string {
    const { playbackUrl, titleId, viewerAddress } = this.#cdn;
    const file = player === 'dash' ? 'manifest.mpd' : 'master.m3u8';
    return this.#pages.urlOf(
      player,
      `${playbackUrl}/play/${titleId}/${file}?client=${viewerAddress}`,
    );
  }
}

interface Look {
  readonly firstFrameMs: number | null;
  readonly stalledMs: number;
  readonly at: number;
}

function lookAt(page: Page): Promise<Look> {
  return page.evaluate(() => (globalThis as unknown as { look: () => Look }).look());
}

export async function runBrowser(spec: BrowserSpec): Promise<BrowserResult> {
  await using cdn = await WholeCdn.start();
  await using pages = await PlayerPages.start();
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS });
  try {
    const bench = new BrowserBench(cdn, pages, browser);
    const rows: BrowserRow[] = [];
    for (const fault of spec.faults) {
      rows.push(await bench.row('hls-kit', fault, spec.kitRuns));
      for (const player of spec.stockRuns > 0 ? (['hls', 'dash'] as const) : []) {
        rows.push(await bench.row(player, fault, spec.stockRuns));
      }
    }
    const starts: object[] = [];
    for (const player of spec.starts > 0 ? (['hls-kit', 'dash'] as const) : []) {
      starts.push(await bench.starts(player, spec.starts));
    }
    const worst = (times: readonly number[]): number | null =>
      times.length === 0 ? null : Math.round(Math.max(...times));
    return {
      rows,
      starts,
      excludedMs: { killed: worst(bench.excluded.kill), silent: worst(bench.excluded.silent) },
    };
  } finally {
    await browser.close();
  }
}
