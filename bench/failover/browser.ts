/**
 * Whole players in a real browser, against a whole CDN behind links: the box that serves them is killed, cut off or drained, and
 * what the viewer sees of it is written down.
 *
 *   page opened --moment--> video bytes from box A --> fault at A --> first bytes from another box --> 2 s more were played
 *
 * Moments: `start` the first bytes of all, nothing is buffered; `seek` the first bytes after a leap to where nothing is buffered;
 * `steady` in the middle of a fragment, some seconds after the first frame.
 *
 * A process of its own inside the core of `links.ts`; a BrowserSpec as JSON in the first argument, a BrowserResult on stdout.
 * Units: milliseconds from the fault to the first answer of another box; seconds that the picture stood still.
 */
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { VIEWER_PLACE, type FleetBox, type FleetShape } from '../load/linked-fleet.ts';
import { placeOf } from '../load/links.ts';
import { medianOf, quantileOf } from './figures.ts';
import type { Fault } from './loader.ts';
import { PlayerFleet, TITLE_ID, until } from './player-fleet.ts';
import { PlayerPages, type PlayerName } from './player-page.ts';

export interface BrowserSpec {
  readonly shape: FleetShape;
  readonly runs: readonly {
    readonly player: PlayerName;
    readonly fault: Fault;
    readonly runs: number;
  }[];
  readonly starts: readonly { readonly player: PlayerName; readonly runs: number }[]; // without a fault
}

type Moment = 'start' | 'seek' | 'steady';

export interface BrowserRow {
  readonly player: PlayerName;
  readonly kit: boolean;
  readonly fault: Fault;
  readonly runs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  readonly rebufferSeconds: number; // mean of a run
  readonly moments: Readonly<
    Record<
      string,
      { readonly runs: number; readonly worstMs: number; readonly rebufferSeconds: number }
    >
  >;
  readonly givenUp: number; // runs that did not go on within RUN_MS_MAX: counted with that
}

export interface BrowserResult {
  readonly rows: readonly BrowserRow[];
  readonly starts: readonly object[];
}

interface Run {
  readonly moment: Moment;
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
const MOMENTS: readonly Moment[] = ['start', 'seek', 'steady'];
/** A drain cuts no body, and is on only a while after it was asked for: after a leap the film's rest would be there by then. */
const DRAIN_MOMENTS: readonly Moment[] = ['start', 'steady'];
const RUN_MS_MAX = 30_000;
const PLAYED_AFTER_SECONDS = 2;
const STEADY_AFTER_SECONDS = 3;
const SEEK_TO_SECONDS = 48; // players hold 30 s
const START_MS_MAX = 20_000;
const START_PLAYED_SECONDS = 6;
const CONTENT = /\/t\/[^/]+\/[\w-]{43}(\?|$)/;

export function whyNoBrowser(): string | null {
  return existsSync(CHROMIUM)
    ? null
    : 'Chromium is missing: apt-get install --no-install-recommends chromium';
}

class BrowserBench {
  readonly #cdn: PlayerFleet;
  readonly #pages: PlayerPages;
  readonly #browser: Browser;

  constructor(cdn: PlayerFleet, pages: PlayerPages, browser: Browser) {
    this.#cdn = cdn;
    this.#pages = pages;
    this.#browser = browser;
  }

  async row(player: PlayerName, fault: Fault, runs: number): Promise<BrowserRow> {
    const all: Run[] = [];
    const met = fault === 'drain-404' ? DRAIN_MOMENTS : MOMENTS;
    for (let at = 0; at < runs; at++) {
      const run = await this.#run(player, fault, met[at % met.length]);
      all.push(run);
      console.error(`${player}, ${fault}, run ${at + 1}: ${JSON.stringify(run)}`);
    }
    const gaps = all.map(({ gapMs }) => gapMs);
    const moments = met.map((moment) => {
      const some = all.filter((run) => run.moment === moment);
      const worstMs = Math.round(Math.max(0, ...some.map(({ gapMs }) => gapMs)));
      return [moment, { runs: some.length, worstMs, rebufferSeconds: meanStall(some) }] as const;
    });
    return {
      player,
      kit: player.endsWith('-kit'),
      fault,
      runs,
      p50Ms: Math.round(medianOf(gaps)),
      p99Ms: Math.round(quantileOf(gaps, 0.99)),
      worstMs: Math.round(Math.max(...gaps)),
      rebufferSeconds: meanStall(all),
      moments: Object.fromEntries(moments),
      givenUp: all.filter(({ isGivenUp }) => isGivenUp).length,
    };
  }

  /** Play to first frame, and how long the picture stood, without any fault. */
  async starts(player: PlayerName, runs: number): Promise<object> {
    const frames: number[] = [];
    let stalledMs = 0;
    for (let at = 0; at < runs; at++) {
      const page = await this.#browser.newPage();
      await page.goto(this.#urlOf(player));
      await playedTo(page, START_PLAYED_SECONDS, START_MS_MAX);
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
      rebufferRatio: Number((stalledMs / (runs * START_PLAYED_SECONDS * 1000)).toFixed(4)),
    };
  }

  async #run(player: PlayerName, fault: Fault, moment: Moment): Promise<Run> {
    const page = await this.#browser.newPage();
    const seen = {
      isArmed: moment === 'start',
      victim: null as FleetBox | null,
      faultAtMs: Infinity,
      nextAtMs: Infinity,
    };
    page.on('response', (response) => {
      if (!CONTENT.test(response.url()) || response.status() !== 206) return;
      const box = this.#cdn.boxAt(response.url());
      if (seen.faultAtMs < Infinity && box !== seen.victim) {
        seen.nextAtMs = Math.min(seen.nextAtMs, performance.now());
      } else if (seen.isArmed && box !== null) {
        seen.isArmed = false;
        seen.victim = box; // whichever serves: mostly the home's
        const armedMs = performance.now();
        void this.#cdn.inject(fault, box).then(() => {
          // A drain is asked for by a process of its own, which takes a while: what it refuses counts from when it is on.
          seen.faultAtMs = fault === 'drain-404' ? performance.now() : armedMs;
        });
      }
    });
    await page.goto(this.#urlOf(player));
    if (moment !== 'start') {
      await playedTo(page, moment === 'seek' ? 1 : STEADY_AFTER_SECONDS, START_MS_MAX);
      seen.isArmed = true;
    }
    if (moment === 'seek') {
      await page.evaluate(`document.getElementById('video').currentTime = ${SEEK_TO_SECONDS}`);
    }
    await until('bytes from a box', START_MS_MAX, () => Promise.resolve(seen.faultAtMs < Infinity));
    const from = (await lookAt(page)).at;
    const isOver = await Promise.all([
      playedTo(page, from + PLAYED_AFTER_SECONDS, RUN_MS_MAX),
      until('another box', RUN_MS_MAX, () => Promise.resolve(seen.nextAtMs < Infinity)),
    ]).then(
      () => true,
      () => false,
    );
    const { at, stalledMs } = await lookAt(page);
    // What passed beyond the playing itself is what the viewer waited: the player's own start, or leap, is in it.
    const passedMs = performance.now() - seen.faultAtMs;
    const waitedMs = moment === 'steady' && isOver ? stalledMs : passedMs - (at - from) * 1000;
    await page.close();
    if (seen.victim !== null) await this.#cdn.mend(fault, seen.victim);
    return {
      moment,
      gapMs: Math.round(Math.min(RUN_MS_MAX, seen.nextAtMs - seen.faultAtMs)),
      stalledSeconds: Number((Math.max(0, waitedMs) / 1000).toFixed(2)),
      isGivenUp: !isOver,
    };
  }

  #urlOf(player: PlayerName): string {
    const file = player.startsWith('dash') ? 'manifest.mpd' : 'master.m3u8';
    return this.#pages.urlOf(player, `${this.#cdn.playbackUrl}/play/${TITLE_ID}/${file}`);
  }
}

function meanStall(runs: readonly Run[]): number {
  const sum = runs.reduce((total, { stalledSeconds }) => total + stalledSeconds, 0);
  return Number((sum / Math.max(1, runs.length)).toFixed(3));
}

interface Look {
  readonly firstFrameMs: number | null;
  readonly stalledMs: number;
  readonly at: number;
}

function lookAt(page: Page): Promise<Look> {
  return page.evaluate(() => (globalThis as unknown as { look: () => Look }).look());
}

async function playedTo(page: Page, seconds: number, msMax: number): Promise<void> {
  await page.waitForFunction(`window.look().at >= ${seconds}`, undefined, {
    timeout: msMax,
    polling: 20,
  });
}

/** Chromium behind the viewer's link: Playwright starts a program, which goes there first. */
async function withBrowser<T>(use: (browser: Browser) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-viewer-'));
  try {
    const program = path.join(directory, 'chromium');
    const argv = placeOf(VIEWER_PLACE).inside([CHROMIUM]);
    writeFileSync(program, `#!/bin/sh\nexec ${argv.join(' ')} "$@"\n`);
    chmodSync(program, 0o755);
    const browser = await chromium.launch({ executablePath: program, args: CHROMIUM_ARGS });
    try {
      return await use(browser);
    } finally {
      await browser.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function runBrowser(spec: BrowserSpec): Promise<BrowserResult> {
  await using cdn = await PlayerFleet.start(spec.shape);
  await using pages = await PlayerPages.start();
  return await withBrowser(async (browser) => {
    const bench = new BrowserBench(cdn, pages, browser);
    const rows: BrowserRow[] = [];
    for (const { player, fault, runs } of spec.runs)
      rows.push(await bench.row(player, fault, runs));
    const starts: object[] = [];
    for (const { player, runs } of spec.starts) starts.push(await bench.starts(player, runs));
    return { rows, starts };
  });
}

if (import.meta.main) {
  const spec = JSON.parse(process.argv[2] ?? 'null') as BrowserSpec | null;
  // What it started is ended by exit handlers, which a signal alone would not run.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130));
  }
  if (spec === null)
    throw new Error('usage: node bench/failover/browser.ts SPEC (see BrowserSpec)');
  process.stdout.write(`${JSON.stringify(await runBrowser(spec))}\n`);
  process.exit(0);
}
