/**
 * `nightfill up --check`: a viewer downloads two titles through steering's URLs while the appliance that serves it is
 * killed, and every byte is compared with the origin's hashes.
 *
 * It measures; `checkReportOf` judges. Ranges straddle chunk edges on purpose. The kill comes while a response body is in
 * flight: the rest of a 48 MiB file has been asked for in one range, at a rate that no socket buffer hides.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { sleep, systemClock } from '#base/clock.ts';
import { MIB } from '#base/units.ts';
import type { PlayAnswer } from '#steering/contract.ts';
import { decodeChunkList, type FileEntry, type TitleListing } from '#upstream/contract.ts';
import { checkReportOf, type CheckReport, type FillKindBytes } from './check-report.ts';
import { ChunkVerifier } from './chunk-verifier.ts';
import type { FleetClient } from './io/fleet-client.ts';
import { ViewerClient, type Switch } from './io/viewer-client.ts';
import type { Layout } from './layout.ts';

const RANGE_BYTES = Math.floor(1.5 * MIB) + 17; // no multiple of a chunk
const RATE_BYTES_PER_SECOND = 20 * 1000 * 1000;
const KILL_AFTER_BYTES = 256 * 1024; // at least 64 KiB must have been received
const KILL_FILE_BYTES_MIN = 16 * MIB; // more than any socket buffer holds
const EXCLUSION_DEADLINE_MS = 10_000;
const EXCLUSION_POLL_MS = 20;

export interface CheckSubject {
  readonly layout: Layout;
  readonly fleet: FleetClient;
  readonly planDate: string;
  readonly kill: (applianceId: string) => void;
  readonly say: (line: string) => void;
}

interface Tally {
  bytes: number;
  bytesExpected: number;
  bytesVerified: number;
  readonly switches: Switch[];
  killed: {
    applianceId: string;
    atMs: number;
    received: number;
    excludedMs: Promise<number | null>;
  } | null;
}

export async function runCheck(subject: CheckSubject): Promise<CheckReport> {
  const { fleet, layout, say } = subject;
  const { leftOut, distinctFillBytes } = await filesOnBoxes(subject);
  say(`${leftOut.size} files are on no box: they will be pulled through`);
  const fillSourceBytes = await sumOverBoxes(subject, 'fillBytes');
  const originBefore = await fleet.originStatus();

  const tally: Tally = { bytes: 0, bytesExpected: 0, bytesVerified: 0, switches: [], killed: null };
  const viewerAddress = layout.viewerAddresses[0];
  const client = new ViewerClient({
    rateBytesPerSecond: RATE_BYTES_PER_SECOND,
    ...(layout.sharedAddress ? {} : { localAddress: viewerAddress }),
  });
  let missBytesOfKilled = 0;
  try {
    for (const { titleId } of await fleet.titles()) {
      const listing = await fleet.listing(titleId);
      say(`downloading ${listing.name}: ${listing.files.length} files`);
      for (const file of listing.files) {
        const answer = await fleet.play({
          titleId,
          fileIds: [file.fileId],
          clientAddress: viewerAddress,
          session: 'check',
        });
        const download = new FileDownload(subject, client, { listing, file, answer });
        if (!leftOut.has(file.fileId) && shouldKillOn(file, answer, tally)) {
          missBytesOfKilled = await missBytesOf(subject, answer.files[0].urls[0].pathwayId);
          await downloadAndKill(subject, download, tally);
        } else {
          await downloadByRanges(download, tally);
        }
      }
    }
  } finally {
    await client.close();
  }
  if (tally.killed === null)
    throw new Error('no file of at least 16 MiB was served by an appliance');

  const originAfter = await fleet.originStatus();
  const missBytes = await sumOverBoxes(subject, 'missBytes');
  const excludedMs = await tally.killed.excludedMs;
  say(
    excludedMs === null
      ? `${tally.killed.applianceId} is still in steering's answers`
      : `${tally.killed.applianceId} was out of new answers ${Math.round(excludedMs)} ms after the kill`,
  );
  const { applianceId, received } = tally.killed;
  const ownSwitches = tally.switches.filter((one) => one.from === applianceId);
  return checkReportOf({
    bytes: tally.bytes,
    bytesExpected: tally.bytesExpected,
    bytesVerified: tally.bytesVerified,
    originServeBytes: originAfter.serveBytes - originBefore.serveBytes,
    originFillBytes: originAfter.fillBytes,
    distinctFillBytes,
    fillSourceBytes,
    pullThroughBytes: missBytes.peer + missBytes.tier + missBytes.origin + missBytesOfKilled,
    filesLeftOut: leftOut.size,
    killedAppliance: applianceId,
    receivedWhenKilled: received,
    brokenResponses: ownSwitches.length,
    failoverMsMax: Math.max(0, ...tally.switches.map((one) => one.resumedAtMs - one.lastByteAtMs)),
    steeringExcludedMs: excludedMs,
  });
}

function shouldKillOn(file: FileEntry, answer: PlayAnswer, tally: Tally): boolean {
  const [ranked] = answer.files;
  return (
    tally.killed === null &&
    file.sizeBytes >= KILL_FILE_BYTES_MIN &&
    ranked.reason === 'home' &&
    ranked.urls[0].kind === 'appliance'
  );
}

/** One file under way: its ranked URLs, what was verified of it, and who sent how much. */
class FileDownload {
  readonly #subject: CheckSubject;
  readonly #client: ViewerClient;
  readonly #verifier: ChunkVerifier;
  readonly #servedBy = new Map<string, number>();
  readonly listing: TitleListing;
  readonly file: FileEntry;
  readonly answer: PlayAnswer;

  constructor(
    subject: CheckSubject,
    client: ViewerClient,
    { listing, file, answer }: Pick<FileDownload, 'listing' | 'file' | 'answer'>,
  ) {
    this.#subject = subject;
    this.#client = client;
    this.#verifier = verifierOf(subject, file);
    this.listing = listing;
    this.file = file;
    this.answer = answer;
  }

  /** `onReceived` hears how much of this range has come so far. */
  async range(
    start: number,
    endInclusive: number,
    onReceived?: (received: number) => void,
  ): Promise<readonly Switch[]> {
    const { fileId, sizeBytes } = this.file;
    let received = 0;
    return this.#client.download(
      { fileId, sizeBytes, urls: this.answer.files[0].urls, start, endInclusive },
      (bytes, pathwayId) => {
        this.#verifier.take(bytes);
        received += bytes.length;
        this.#servedBy.set(pathwayId, (this.#servedBy.get(pathwayId) ?? 0) + bytes.length);
        onReceived?.(received);
      },
    );
  }

  end(tally: Tally): void {
    tally.bytes += this.#verifier.takenBytes;
    tally.bytesExpected += this.file.sizeBytes;
    tally.bytesVerified += this.#verifier.verifiedBytes;
    const shares = [...this.#servedBy].map(([id, bytes]) => `${id} ${bytes}`).join(', ');
    const where = `${this.listing.titleId}/${this.file.fileId.slice(0, 8)}…`;
    this.#subject.say(
      `${where} ${this.file.sizeBytes} bytes (${this.answer.files[0].reason}): ${shares}`,
    );
  }
}

/** One file, one range after another, each asked for on the ranked URLs. */
async function downloadByRanges(download: FileDownload, tally: Tally): Promise<void> {
  const { sizeBytes } = download.file;
  for (let start = 0; start < sizeBytes; start += RANGE_BYTES) {
    const endInclusive = Math.min(start + RANGE_BYTES, sizeBytes) - 1;
    tally.switches.push(...(await download.range(start, endInclusive)));
  }
  download.end(tally);
}

/** The same in one range; the box that serves it dies by kill -9 while the body is under way. */
async function downloadAndKill(
  subject: CheckSubject,
  download: FileDownload,
  tally: Tally,
): Promise<void> {
  const { sizeBytes, fileId } = download.file;
  const victim = download.answer.files[0].urls[0].pathwayId;
  const switches = await download.range(0, sizeBytes - 1, (received) => {
    if (tally.killed !== null || received < KILL_AFTER_BYTES) return;
    subject.kill(victim);
    subject.say(`kill -9 ${victim} with ${received} bytes of a ${sizeBytes}-byte answer received`);
    const atMs = systemClock.monotonicMs();
    const excludedMs = watchExclusion(subject, download.listing.titleId, fileId, victim, atMs);
    tally.killed = { applianceId: victim, atMs, received, excludedMs };
  });
  tally.switches.push(...switches);
  for (const one of switches) {
    subject.say(
      `${one.from} broke off (${one.why}); continued at byte ${one.atByte} on ${one.to} ` +
        `after ${Math.round(one.resumedAtMs - one.lastByteAtMs)} ms`,
    );
  }
  download.end(tally);
}

/** Asks steering every 20 ms until the killed box is in no new answer. null: time ran out. */
async function watchExclusion(
  subject: CheckSubject,
  titleId: string,
  fileId: string,
  victim: string,
  killedAtMs: number,
): Promise<number | null> {
  const clientAddress = subject.layout.viewerAddresses[0];
  while (systemClock.monotonicMs() - killedAtMs < EXCLUSION_DEADLINE_MS) {
    const answer = await subject.fleet.play({
      titleId,
      fileIds: [fileId],
      clientAddress,
      session: 'watch',
    });
    const isOut = answer.files.every((one) => one.urls.every((url) => url.pathwayId !== victim));
    if (isOut) return systemClock.monotonicMs() - killedAtMs;
    await sleep(systemClock, EXCLUSION_POLL_MS);
  }
  return null;
}

async function filesOnBoxes(
  subject: CheckSubject,
): Promise<{ readonly leftOut: ReadonlySet<string>; readonly distinctFillBytes: number }> {
  const { titles, holdings } = await subject.fleet.plannerInput(subject.planDate);
  const held = new Set(holdings.flatMap((entry) => entry.ordinals));
  const leftOut = new Set<string>();
  const heldBytes = new Map<string, number>();
  for (const { listing, ordinals } of titles) {
    listing.files.forEach(({ fileId, sizeBytes }, at) => {
      if (held.has(ordinals[at])) heldBytes.set(fileId, sizeBytes);
      else leftOut.add(fileId);
    });
  }
  const distinctFillBytes = [...heldBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  return { leftOut, distinctFillBytes };
}

async function sumOverBoxes(
  subject: CheckSubject,
  what: 'fillBytes' | 'missBytes',
): Promise<FillKindBytes> {
  const sum = { peer: 0, tier: 0, origin: 0 };
  for (const box of subject.layout.appliances) {
    const bytes = (await subject.fleet.boxStatus(box))?.[what];
    if (bytes === undefined) continue; // the killed box cannot say any more
    sum.peer += bytes.peer;
    sum.tier += bytes.tier;
    sum.origin += bytes.origin;
  }
  return sum;
}

async function missBytesOf(subject: CheckSubject, applianceId: string): Promise<number> {
  const box = subject.layout.appliances.find((one) => one.applianceId === applianceId);
  const status = box === undefined ? null : await subject.fleet.boxStatus(box);
  return status === null
    ? 0
    : status.missBytes.peer + status.missBytes.tier + status.missBytes.origin;
}

/** The origin's own chunk list, read where the origin keeps it and checked against the file's id. */
function verifierOf(subject: CheckSubject, file: FileEntry): ChunkVerifier {
  const encoded = readFileSync(
    path.join(subject.layout.originDir, 'files', `${file.fileId}.chunks`),
  );
  const list = decodeChunkList(encoded, file.fileId);
  if (!list.ok) throw new Error(`the origin's chunk list of ${file.fileId} is ${list.failure}`);
  return new ChunkVerifier(list.value);
}
