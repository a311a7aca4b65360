/**
 * A few viewers that watch the demo's catalogue, so that the numbers of the fleet page move and tomorrow's plan has
 * something to learn from. They are clients like any other: playback, ranked URLs, ranges.
 *
 * Invariant: a viewer's trouble is its own: it waits and goes on with another title; it never ends the demo.
 */
import { sleep, systemClock, type Clock } from '#base/clock.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import { seededRandom, type Random } from '#base/random.ts';
import { MIB } from '#base/units.ts';
import { checkPlayAnswer } from '#steering/contract.ts';
import { ViewerClient } from './io/viewer-client.ts';

const RATE_BYTES_PER_SECOND = 750_000; // 6 Mbit/s each
const RANGE_BYTES = MIB / 2;
const PAUSE_AFTER_TROUBLE_MS = 2_000;
const ZIPF_EXPONENT = 0.9;
const DEADLINE_MS = 5_000;

export interface ViewersOptions {
  readonly playbackUrl: string;
  readonly addresses: readonly string[]; // one viewer each
  readonly bindAddresses: boolean;
  readonly titleIds: () => readonly string[];
  readonly log: Logger;
}

/** Starts the viewers; the returned function stops them. */
export function startViewers(options: ViewersOptions): () => Promise<void> {
  const stop = new AbortController();
  const running = options.addresses.map((address, index) =>
    watchForEver(options, address, seededRandom(index + 1), systemClock, stop.signal),
  );
  return async () => {
    stop.abort();
    await Promise.all(running);
  };
}

async function watchForEver(
  options: ViewersOptions,
  address: string,
  random: Random,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const client = new ViewerClient({
    rateBytesPerSecond: RATE_BYTES_PER_SECOND,
    ...(options.bindAddresses ? { localAddress: address } : {}),
  });
  while (!signal.aborted) {
    const titleId = pickByZipf(options.titleIds(), random);
    try {
      if (titleId === null) await sleep(clock, PAUSE_AFTER_TROUBLE_MS);
      else await watch(options, client, titleId, address, signal);
    } catch (thrown) {
      if (signal.aborted) break;
      options.log.info(
        { event: 'viewer-trouble', titleId, why: messageOf(thrown) },
        'a viewer could not play',
      );
      await sleep(clock, PAUSE_AFTER_TROUBLE_MS);
    }
  }
  await client.close();
}

async function watch(
  options: ViewersOptions,
  client: ViewerClient,
  titleId: string,
  address: string,
  signal: AbortSignal,
): Promise<void> {
  const outcome = await callJsonOk({
    method: 'GET',
    url: `${options.playbackUrl}/play/${titleId}.json?client=${address}`,
    deadlineMs: DEADLINE_MS,
  });
  if (!outcome.ok) throw new Error(outcome.failure.detail);
  const { play, listing } = outcome.value as {
    play: unknown;
    listing: { files: { fileId: string; sizeBytes: number }[] };
  };
  const answer = checkPlayAnswer(play);
  if (!answer.ok) throw new Error(answer.failure.join('; '));
  for (const { fileId, urls } of answer.value.files) {
    const sizeBytes = listing.files.find((file) => file.fileId === fileId)?.sizeBytes;
    if (sizeBytes === undefined) continue;
    for (let start = 0; start < sizeBytes && !signal.aborted; start += RANGE_BYTES) {
      const endInclusive = Math.min(start + RANGE_BYTES, sizeBytes) - 1;
      const switches = await client.download(
        { fileId, sizeBytes, urls, start, endInclusive },
        () => {},
        signal,
      );
      for (const one of switches) {
        options.log.info({ event: 'viewer-switched', ...one }, 'a viewer went on at another box');
      }
    }
  }
}

/** Rank k with weight 1 / k^s: some titles are much more popular than others, always the same ones. */
export function pickByZipf(titleIds: readonly string[], random: Random): string | null {
  if (titleIds.length === 0) return null;
  const weights = titleIds.map((_, rank) => 1 / (rank + 1) ** ZIPF_EXPONENT);
  let left = random.next() * weights.reduce((sum, weight) => sum + weight, 0);
  for (let rank = 0; rank < weights.length; rank++) {
    left -= weights[rank];
    if (left < 0) return titleIds[rank];
  }
  return titleIds[titleIds.length - 1];
}
