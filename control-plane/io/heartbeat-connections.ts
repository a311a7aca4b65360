/**
 * The one WebSocket of each box: heartbeats in, answers out, holdings kept in step.
 *
 *   frame -> size -> JSON -> checkApplianceFrame -> heartbeat | holdings-delta | holdings-full
 *
 * Errors:     a frame that is not allowed closes the connection with a code and a reason; the box comes back
 * Invariants: (1) at most one connection per box: a later one replaces the earlier one
 *             (2) a connection that was replaced says nothing about the box's standing when it closes
 *             (3) full holdings are asked for within a budget of the whole fleet, so that a restart is no stampede
 */
import type { WebSocket } from '@fastify/websocket';
import {
  checkApplianceFrame,
  DENIAL_PROOF_BYTES_MAX,
  HEARTBEAT_FRAME_BYTES_MAX,
  HOLDINGS_FRAME_BYTES_MAX,
  type ApplianceFrame,
  type Heartbeat,
} from '#appliance/contract.ts';
import { messageOf, type Outcome } from '#base/outcome.ts';
import type { ApplianceId, HeartbeatAnswer, PushedDocument } from '../contract.ts';
import { fillWindowAt } from '../fill-window.ts';
import { closeInWords, SILENT_AFTER_MS } from '../health-machine.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { Plane } from './plane.ts';

/** One holdings-delta of 2,000 ids is 92 kB; anything larger must be a holdings-full. */
const DELTA_FRAME_BYTES_MAX = 256 * 1024;
const SMALL_FRAME_BYTES_MAX = 1024;
const FRAMES_BURST = 200;
const FRAMES_PER_SECOND = 50; // one heartbeat and a few deltas
const FULL_BURST = 3; // full holdings of one box
const FULL_PER_SECOND = 0.1;
const FULL_WAIT_MS = 10_000; // a list that was asked for is not asked for again meanwhile
const RESYNCS_BURST = 32; // full holdings asked of the whole fleet at once
const RESYNCS_PER_SECOND = 8;
const ANSWER_BACKLOG_BYTES_MAX = 256 * 1024; // of a box that does not read
const PUSH_BACKLOG_BYTES_MAX = 4 * 1024 * 1024; // likewise, for what must not wait
const REASON_BYTES_MAX = 120; // a close frame holds 123

const CLOSE = { policy: 1008, tooBig: 1009, badData: 1007, unsupported: 1003, goingAway: 1001 };
/** It said goodbye: stopped by its operator. A killed process or a cut line is 1006. */
const CLOSED_BY_THE_BOX = new Set([1000, 1001, 1005]);
const CLOSE_REPLACED = 4001;
const CLOSE_REMOVED = 4003;

interface Connection {
  readonly applianceId: ApplianceId;
  readonly socket: WebSocket;
  readonly frames: TokenBucket;
  readonly fulls: TokenBucket;
  /** Boot id of the process that this connection replaced while it was alive. */
  readonly replacedBootId: string | null;
  isReplaced: boolean;
  isRefused: boolean; // closing for something it sent: what still arrives is not read
  closeReason: string;
  /** When the whole list of holdings was asked for; null once it came. */
  fullAskedAtMs: number | null;
}

export class HeartbeatConnections {
  readonly #plane: () => Plane;
  readonly #live = new Map<ApplianceId, Connection>();
  readonly #resyncs: TokenBucket;
  #isStopping = false;

  /** `plane` is given late: the plane names this object, and this object uses the plane. */
  constructor(plane: () => Plane, nowMs: number) {
    this.#plane = plane;
    this.#resyncs = new TokenBucket(RESYNCS_BURST, RESYNCS_PER_SECOND, nowMs);
  }

  get count(): number {
    return this.#live.size;
  }

  accept(applianceId: ApplianceId, socket: WebSocket): void {
    const { clock, fleet, log, standingChanged } = this.#plane();
    const nowMs = clock.monotonicMs();
    const connection: Connection = {
      applianceId,
      socket,
      frames: new TokenBucket(FRAMES_BURST, FRAMES_PER_SECOND, nowMs),
      fulls: new TokenBucket(FULL_BURST, FULL_PER_SECOND, nowMs),
      replacedBootId: this.#replace(applianceId, nowMs),
      isReplaced: false,
      isRefused: false,
      closeReason: '',
      fullAskedAtMs: null,
    };
    this.#live.set(applianceId, connection);
    socket.on('message', (data, isBinary) => {
      this.#frame(connection, data as Buffer, isBinary);
    });
    socket.on('error', (thrown) => {
      connection.closeReason = messageOf(thrown);
    });
    socket.on('close', (code) => {
      this.#closed(connection, code);
    });
    // Whatever was denied while it was away holds there before its first heartbeat is answered.
    const { document } = this.#plane().denials;
    if (document !== null) sendDocument(socket, { type: 'denials', document });
    const fast = this.#plane().fastTrack.document;
    if (fast !== null) sendDocument(socket, { type: 'fast-track', document: fast });
    log.info({ applianceId }, 'appliance connected');
    const event = { name: 'connected' } as const;
    standingChanged(fleet.hear(applianceId, event, nowMs, clock.wallMs()));
  }

  disconnect(applianceId: ApplianceId, why: string): void {
    const connection = this.#live.get(applianceId);
    if (connection === undefined) return;
    connection.isReplaced = true;
    this.#live.delete(applianceId);
    connection.socket.close(CLOSE_REMOVED, why.slice(0, REASON_BYTES_MAX));
  }

  /** To every connected box, at once. A box that does not read gets it with its next connection. */
  push(pushed: PushedDocument): void {
    const text = JSON.stringify(pushed);
    for (const { socket } of this.#live.values()) {
      if (socket.readyState === socket.OPEN && socket.bufferedAmount < PUSH_BACKLOG_BYTES_MAX) {
        socket.send(text);
      }
    }
  }

  /** The control plane stops: no box is gone because of that. */
  stop(): void {
    this.#isStopping = true;
    for (const { socket } of this.#live.values()) {
      socket.close(CLOSE.goingAway, 'the control plane stops');
      socket.terminate();
    }
    this.#live.clear();
  }

  /** Ends an earlier connection of the same box. The boot id it had, where it was still alive. */
  #replace(applianceId: ApplianceId, nowMs: number): string | null {
    const earlier = this.#live.get(applianceId);
    if (earlier === undefined) return null;
    earlier.isReplaced = true;
    earlier.socket.close(CLOSE_REPLACED, 'replaced by a later connection of the same appliance');
    const box = this.#plane().fleet.box(applianceId);
    const isAlive = box?.heartbeatAtMs != null && nowMs - box.heartbeatAtMs < SILENT_AFTER_MS;
    return isAlive ? (box.heartbeat?.bootId ?? null) : null;
  }

  #closed(connection: Connection, code: number): void {
    const { applianceId, isReplaced, closeReason } = connection;
    if (isReplaced || this.#isStopping || this.#live.get(applianceId) !== connection) return;
    this.#live.delete(applianceId);
    const { clock, fleet, log, standingChanged } = this.#plane();
    log.warn({ applianceId, code, closeReason }, 'appliance connection closed');
    const event = { name: 'closed', why: closeInWords(code, closeReason) } as const;
    const change = fleet.hear(applianceId, event, clock.monotonicMs(), clock.wallMs());
    standingChanged(change, CLOSED_BY_THE_BOX.has(code));
  }

  #frame(connection: Connection, data: Buffer, isBinary: boolean): void {
    if (connection.isReplaced || connection.isRefused || this.#isStopping) return;
    const nowMs = this.#plane().clock.monotonicMs();
    if (!connection.frames.take(nowMs)) {
      return this.#refuse(connection, CLOSE.policy, `over ${FRAMES_PER_SECOND} frames a second`);
    }
    if (isBinary) {
      return this.#refuse(connection, CLOSE.unsupported, 'binary frames (BMP) are not taken yet');
    }
    // A large frame is parsed only where a full list of holdings may come.
    const isLarge = data.length > DELTA_FRAME_BYTES_MAX;
    if (isLarge && !mayBringFull(connection, nowMs)) {
      return this.#refuse(connection, CLOSE.policy, 'large frames come too often');
    }
    const frame = parseFrame(data);
    if (!frame.ok) return this.#refuse(connection, CLOSE.badData, frame.failure);
    if (data.length > FRAME_BYTES_MAX[frame.value.type]) {
      return this.#refuse(connection, CLOSE.tooBig, `a ${frame.value.type} frame is too large`);
    }
    if (frame.value.type === 'holdings-full' && !isLarge && !mayBringFull(connection, nowMs)) {
      return this.#refuse(connection, CLOSE.policy, 'full holdings come too often');
    }
    this.#take(connection, frame.value, nowMs);
  }

  #take(connection: Connection, frame: ApplianceFrame, nowMs: number): void {
    const { fleet, log, publisher } = this.#plane();
    const { applianceId } = connection;
    const holdings = fleet.box(applianceId)?.holdings;
    if (holdings === undefined) return;
    switch (frame.type) {
      case 'heartbeat':
        this.#heartbeat(connection, frame, nowMs);
        return;
      case 'holdings-delta':
        if (holdings.takeDelta(frame) === 'refused') {
          log.warn({ applianceId, from: frame.fromVersion }, 'a holdings delta does not follow');
        } else publisher.changed('soon');
        return;
      case 'holdings-full':
        connection.fullAskedAtMs = null;
        holdings.takeFull(frame);
        publisher.changed('soon');
        return;
      case 'denials-ack':
        this.#plane().denials.acknowledged(applianceId, frame.version);
        return;
      case 'denials-proof':
        void this.#plane().denials.proved(applianceId, frame.proof);
    }
  }

  #heartbeat(connection: Connection, heartbeat: Heartbeat, nowMs: number): void {
    const { alarms, clock, denials, fleet, log, standingChanged, traffic } = this.#plane();
    const { applianceId, replacedBootId } = connection;
    const wallMs = clock.wallMs();
    const box = fleet.box(applianceId);
    if (box === undefined) return;
    if (box.heartbeat?.bootId === replacedBootId && heartbeat.bootId !== replacedBootId) {
      alarms.raise(
        `two running appliances say they are ${applianceId}: the later connection replaced the earlier`,
        box.record.baseUrl,
        `a state directory was copied: stop one of them, remove ${applianceId} and enrol the other under a new name`,
      );
    }
    traffic.fromBox(applianceId, heartbeat, wallMs);
    denials.acknowledged(applianceId, heartbeat.versions.denials);
    standingChanged(fleet.heartbeat(applianceId, heartbeat, nowMs, wallMs));
    const verdict = box.holdings.compare(heartbeat.holdings);
    if (verdict === 'current') connection.fullAskedAtMs = null; // deltas led there as well
    const resyncHoldings = verdict === 'resync' && this.#mayAskFull(connection, nowMs);
    if (resyncHoldings) log.info({ applianceId }, 'asks for the whole list of holdings');
    const { signedClock } = this.#plane();
    const { sequence } = heartbeat;
    const signedTime = signedClock.atOnce();
    if (signedTime !== null) this.#answer(connection, sequence, resyncHoldings, signedTime);
    else {
      void signedClock.now().then((text) => {
        this.#answer(connection, sequence, resyncHoldings, text);
      });
    }
  }

  #mayAskFull(connection: Connection, nowMs: number): boolean {
    const askedMs = connection.fullAskedAtMs;
    if (askedMs !== null && nowMs - askedMs < FULL_WAIT_MS) return false;
    if (!connection.fulls.take(nowMs) || !this.#resyncs.take(nowMs)) return false;
    connection.fullAskedAtMs = nowMs;
    return true;
  }

  #answer(
    connection: Connection,
    sequence: number,
    resyncHoldings: boolean,
    signedTime: string,
  ): void {
    const { clock, denials, fleet, keys, manifests } = this.#plane();
    const { applianceId, socket } = connection;
    // Signing may have taken a moment: the connection may be gone, and with it everything that would be read below.
    if (this.#isStopping || socket.readyState !== socket.OPEN) return;
    const box = fleet.box(applianceId);
    const site = box === undefined ? undefined : fleet.site(box.record.siteId);
    if (site === undefined) return;
    const { fillWindow } = site.site;
    const answer: HeartbeatAnswer = {
      type: 'answer',
      sequence,
      signedTime,
      versions: {
        manifest: manifests.versionOf(applianceId),
        sources: fleet.sourcesVersion,
        keys: keys.ring.version,
        denials: denials.current.version,
        configuration: site.configuration,
      },
      fillWindow: { ...fillWindowAt(fillWindow, clock.wallMs()), hours: fillWindow.hours },
      resyncHoldings,
    };
    if (socket.bufferedAmount > ANSWER_BACKLOG_BYTES_MAX) return; // its silence will be noticed
    socket.send(JSON.stringify(answer));
  }

  #refuse(connection: Connection, code: number, reason: string): void {
    const { applianceId, socket } = connection;
    this.#plane().log.warn({ applianceId, code, reason }, 'appliance connection refused a frame');
    connection.isRefused = true;
    connection.closeReason = reason;
    socket.close(code, Buffer.from(reason).subarray(0, REASON_BYTES_MAX).toString('utf8'));
  }
}

function sendDocument(socket: WebSocket, pushed: PushedDocument): void {
  socket.send(JSON.stringify(pushed));
}

/** A list that was asked for is always welcome; one that was not, within the box's budget. */
function mayBringFull(connection: Connection, nowMs: number): boolean {
  return connection.fullAskedAtMs !== null || connection.fulls.take(nowMs);
}

const FRAME_BYTES_MAX: Readonly<Record<ApplianceFrame['type'], number>> = {
  heartbeat: HEARTBEAT_FRAME_BYTES_MAX,
  'holdings-delta': DELTA_FRAME_BYTES_MAX,
  'holdings-full': HOLDINGS_FRAME_BYTES_MAX,
  'denials-ack': SMALL_FRAME_BYTES_MAX,
  'denials-proof': DENIAL_PROOF_BYTES_MAX + SMALL_FRAME_BYTES_MAX,
};

function parseFrame(data: Buffer): Outcome<ApplianceFrame, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(data.toString('utf8'));
  } catch {
    return { ok: false, failure: 'the frame is no JSON' };
  }
  const checked = checkApplianceFrame(parsed);
  if (checked.ok) return checked;
  return {
    ok: false,
    failure: `the frame is none of ours: ${checked.failure.slice(0, 2).join('; ')}`,
  };
}
