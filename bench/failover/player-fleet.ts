/**
 * A CDN for whole players: three sites of one box each behind links of their own, steering and playback, and a place for viewers whose
 * link is as fast as a viewer's. Boxes can be killed, cut off and drained, and are mended again.
 *
 *   viewer (20 Mbit/s) -- core: control plane, steering, playback, pages -- site1 (the viewers' home) | site2 | site3 | origin
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CONTENT_PORT, LinkedFleet, type FleetBox, type FleetShape } from '../load/linked-fleet.ts';
import { loaderShape, untilFilled, type Fault } from './loader.ts';

export const TITLE_ID = 'film';
export const FILM_SECONDS = 64;
const BACK_MS_MAX = 30_000;

export function playerShape(viewerBps: number): FleetShape {
  return { ...loaderShape(), viewerBps };
}

export class PlayerFleet implements AsyncDisposable {
  readonly fleet: LinkedFleet;
  readonly playbackUrl: string;

  private constructor(fleet: LinkedFleet, playbackUrl: string) {
    this.fleet = fleet;
    this.playbackUrl = playbackUrl;
  }

  /** Every box holds the film when this resolves, and new viewings name them all. */
  static async start(shape: FleetShape): Promise<PlayerFleet> {
    const fleet = await LinkedFleet.start(shape);
    try {
      await publishFilm(fleet);
      const files = 2 + 1; // two renditions of 640x360, one sound track
      await fleet.planEverything();
      const playbackUrl = await fleet.servePlayers();
      await untilFilled(fleet, files);
      const cdn = new PlayerFleet(fleet, playbackUrl);
      await until('new viewings to name every box', BACK_MS_MAX, async () => {
        return (await cdn.answered()).length === fleet.boxes.length;
      });
      return cdn;
    } catch (thrown) {
      await fleet[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.fleet[Symbol.asyncDispose]();
  }

  answered(): Promise<readonly string[]> {
    return this.fleet.answered(TITLE_ID);
  }

  /** The box that a URL leads to; null where it is none. */
  boxAt(url: string): FleetBox | null {
    const { host } = new URL(url);
    return this.fleet.boxes.find(({ address }) => `${address}:${CONTENT_PORT}` === host) ?? null;
  }

  async inject(fault: Fault, box: FleetBox): Promise<void> {
    if (fault === 'kill') this.fleet.kill(box.applianceId);
    else if (fault === 'black-hole') await this.fleet.link(box, 'down');
    else await this.fleet.act(box, 'drain?ms=0');
  }

  /** Until new viewings are sent as before: to every box, the home's first. */
  async mend(fault: Fault, box: FleetBox): Promise<void> {
    if (fault === 'kill') await this.fleet.restart(box.applianceId);
    else if (fault === 'black-hole') await this.fleet.link(box, 'up');
    else await this.fleet.act(box, 'undrain');
    await until(`${box.applianceId} to be back`, BACK_MS_MAX, async () => {
      const answered = await this.answered();
      return (
        answered.length === this.fleet.boxes.length &&
        answered[0] === this.fleet.boxes[0].applianceId
      );
    });
  }
}

/** A moving picture with noise, so that it fills its bitrates: fragments of 2 s are some 200 KB. */
async function publishFilm(fleet: LinkedFleet): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-film-'));
  try {
    const file = path.join(directory, 'film.mp4');
    const picture = `testsrc2=size=640x360:rate=12:duration=${FILM_SECONDS}`;
    const sound = `sine=frequency=220:duration=${FILM_SECONDS}`;
    const input = ['-f', 'lavfi', '-i', picture, '-f', 'lavfi', '-i', sound];
    const codec = ['-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '18', '-c:a', 'aac'];
    const argv = ['-v', 'error', ...input, '-vf', 'noise=alls=30:allf=t', ...codec, file];
    const { error, status, stderr } = spawnSync('ffmpeg', argv, { encoding: 'utf8' });
    if (error !== undefined) throw new Error('ffmpeg is missing: apt-get install ffmpeg');
    if (status !== 0) throw new Error(`ffmpeg made no film: ${stderr}`);
    await fleet.publishVideo(TITLE_ID, file);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Waits until something holds; what it throws meanwhile counts as not yet. The time it took, in milliseconds. */
export async function until(
  what: string,
  msMax: number,
  holds: () => Promise<boolean>,
  everyMs = 10,
): Promise<number> {
  const sinceMs = performance.now();
  while (!(await holds().catch(() => false))) {
    if (performance.now() - sinceMs > msMax) throw new Error(`waited ${msMax} ms in vain: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, everyMs);
    });
  }
  return performance.now() - sinceMs;
}
