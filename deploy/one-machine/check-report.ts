/**
 * The result of `nightfill up --check`: one JSON object, and whether all of it held.
 *
 * Words: offload = 1 - viewer bytes fetched from the origin on demand / viewer bytes;
 *        net offload = 1 - all origin egress / viewer bytes.
 */
export interface FillKindBytes {
  readonly peer: number;
  readonly tier: number;
  readonly origin: number;
}

export interface CheckFigures {
  readonly bytes: number; // received by the viewer
  readonly bytesExpected: number; // of both titles
  readonly bytesVerified: number; // in chunks whose hash matched the origin's list
  readonly originServeBytes: number;
  readonly originFillBytes: number;
  readonly distinctFillBytes: number; // of the files on some box, each counted once
  readonly fillSourceBytes: FillKindBytes;
  readonly pullThroughBytes: number; // fetched by boxes on demand
  readonly filesLeftOut: number; // in no manifest and on no box before the first viewer
  readonly killedAppliance: string;
  readonly receivedWhenKilled: number; // bytes of the response in flight
  readonly brokenResponses: number; // responses that the kill cut off
  readonly failoverMsMax: number;
  readonly steeringExcludedMs: number | null; // null: still in answers when time ran out
}

export interface CheckReport {
  readonly ok: boolean;
  readonly failures: readonly string[];
  readonly bytes: number;
  readonly bytesVerified: number;
  readonly originServeBytes: number;
  readonly originFillBytes: number;
  readonly fillSourceBytes: FillKindBytes;
  readonly offloadPercent: number;
  readonly netOffloadPercent: number;
  readonly failoverMsMax: number;
  readonly steeringExcludedMs: number | null;
  readonly killedAppliance: string;
  readonly receivedWhenKilled: number;
  readonly pullThroughBytes: number;
  readonly filesLeftOut: number;
}

const RECEIVED_WHEN_KILLED_MIN = 64 * 1024;
/** One copy of a file crosses the origin link, whatever the number of boxes; a stalled neighbour may cost a second one. */
const ORIGIN_COPIES_MAX = 1.2;

/** What must hold for exit status 0, each with its sentence where it does not. */
export function checkReportOf(figures: CheckFigures): CheckReport {
  const failures: string[] = [];
  const must = (holds: boolean, otherwise: string): void => {
    if (!holds) failures.push(otherwise);
  };
  must(
    figures.bytes === figures.bytesExpected,
    `received ${figures.bytes} of ${figures.bytesExpected} bytes`,
  );
  must(
    figures.bytesVerified === figures.bytesExpected,
    `${figures.bytesExpected - figures.bytesVerified} bytes did not match the origin's hashes`,
  );
  must(
    figures.fillSourceBytes.origin <= ORIGIN_COPIES_MAX * figures.distinctFillBytes,
    `the boxes filled ${figures.fillSourceBytes.origin} bytes from the origin, of files of ${figures.distinctFillBytes} bytes in all`,
  );
  must(figures.filesLeftOut >= 1, 'every file was on some box, so pull-through was not shown');
  must(figures.pullThroughBytes > 0, 'no box fetched anything on demand');
  must(
    figures.receivedWhenKilled >= RECEIVED_WHEN_KILLED_MIN,
    `only ${figures.receivedWhenKilled} bytes had been received when ${figures.killedAppliance} was killed`,
  );
  must(figures.brokenResponses >= 1, 'the kill cut no response off');
  must(
    figures.steeringExcludedMs !== null,
    `steering still names ${figures.killedAppliance}, which was killed`,
  );
  return {
    ok: failures.length === 0,
    failures,
    bytes: figures.bytes,
    bytesVerified: figures.bytesVerified,
    originServeBytes: figures.originServeBytes,
    originFillBytes: figures.originFillBytes,
    fillSourceBytes: figures.fillSourceBytes,
    offloadPercent: percent(1 - figures.originServeBytes / figures.bytes),
    netOffloadPercent: percent(
      1 - (figures.originServeBytes + figures.originFillBytes) / figures.bytes,
    ),
    failoverMsMax: Math.round(figures.failoverMsMax),
    steeringExcludedMs:
      figures.steeringExcludedMs === null ? null : Math.round(figures.steeringExcludedMs),
    killedAppliance: figures.killedAppliance,
    receivedWhenKilled: figures.receivedWhenKilled,
    pullThroughBytes: figures.pullThroughBytes,
    filesLeftOut: figures.filesLeftOut,
  };
}

function percent(share: number): number {
  return Math.round(share * 10_000) / 100;
}
