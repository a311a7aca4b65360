/**
 * Some thousand boxes of the heartbeat bench, in one process: each has its own identity and connection, and beats once a second.
 *
 * The boxes of a loader share one key: a control plane looks keys up by box and does the same work for each.
 */
import { randomUUID } from 'node:crypto';
import { systemClock } from '#base/clock.ts';
import { generateSigningKey, signCompact, type SigningKey } from '#base/jws.ts';
import { messageOf } from '#base/outcome.ts';
import type { Heartbeat } from '#appliance/contract.ts';
import { ASSERTION_AUDIENCE, ASSERTION_GRANT_TYPE, JWS_TYPE } from '#control-plane/contract.ts';
import { FrameSocket } from './frames.ts';

const AT_ONCE = 64; // enrolments under way
const PERIOD_MS = 1000;

export type LoaderOrder =
  | {
      readonly do: 'connect';
      readonly url: string;
      readonly token: string; // of an operator
      readonly from: number;
      readonly count: number;
    }
  | { readonly do: 'beat'; readonly forMs: number }
  | { readonly do: 'deny'; readonly forMs: number };

export interface LoaderAnswer {
  readonly connected?: number;
  readonly sent?: number;
  readonly answered?: number;
  readonly denied?: number;
  readonly latenciesMs?: readonly number[];
}

class Box {
  readonly id: string;
  socket!: FrameSocket; // set before the box is counted
  readonly #bootId = randomUUID();
  #sequence = 0;
  sentAtMs = 0;

  constructor(id: string) {
    this.id = id;
  }

  beat(version: number): void {
    this.sentAtMs = performance.now();
    this.socket.send(JSON.stringify(heartbeat(this.#bootId, ++this.#sequence, version)));
  }
}

const boxes: Box[] = [];
let answered = 0;
let denied = 0;
let deniedVersion = 0;
let isSampling = false;
const latenciesMs: number[] = [];

process.on('message', (order: LoaderOrder) => {
  handle(order).then(
    (answer) => process.send?.(answer),
    (thrown: unknown) => {
      process.stderr.write(`loader: ${messageOf(thrown)}\n`);
      process.exit(1);
    },
  );
});

async function handle(order: LoaderOrder): Promise<LoaderAnswer> {
  if (order.do === 'connect') {
    const { key } = await generateSigningKey('ES256');
    const names = Array.from({ length: order.count }, (_, at) => `box-${order.from + at}`);
    const next = names.values();
    const work = async (): Promise<void> => {
      for (const name of next) await connect(name, key, order.url, order.token);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return { connected: boxes.length };
  }
  if (order.do === 'beat') {
    const before = answered;
    isSampling = true;
    const sent = await beatFor(order.forMs);
    isSampling = false;
    return {
      sent,
      answered: answered - before,
      latenciesMs: latenciesMs.filter((_, at) => at % 17 === 0),
    };
  }
  await beatFor(order.forMs);
  return { denied };
}

/** Each box once a second, spread over the second. */
async function beatFor(forMs: number): Promise<number> {
  let sent = 0;
  const startMs = performance.now();
  let due = 0;
  while (performance.now() - startMs < forMs) {
    const elapsedMs = performance.now() - startMs;
    const wanted = Math.floor((elapsedMs / PERIOD_MS) * boxes.length);
    // One that fell behind by more than a second sends no burst: a box sends one beat a second, never two.
    due = Math.max(due, wanted - boxes.length);
    for (; due < wanted; due++) {
      const box = boxes[due % boxes.length];
      if (!box.socket.isOpen) continue;
      box.beat(deniedVersion);
      sent++;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return sent;
}

async function connect(
  name: string,
  key: SigningKey,
  url: string,
  operator: string,
): Promise<void> {
  const made = await post(`${url}/v1/enrolment-tokens`, operator, {
    applianceId: name,
    siteId: 'site',
    clusterId: 'site',
  });
  await post(`${url}/v1/enrol`, null, {
    token: made['token'],
    publicJwk: key.publicJwk,
    baseUrl: `http://${name}.test:80`,
    applianceClass: 'flash',
    storageBytes: 1_000_000,
    servingBps: 1_000_000_000,
  });
  const now = Math.floor(systemClock.wallMs() / 1000);
  const assertion = await signCompact(key, JWS_TYPE.assertion, {
    iss: name,
    sub: name,
    aud: ASSERTION_AUDIENCE,
    jti: randomUUID(),
    iat: now,
    exp: now + 30,
  });
  const body = { grant_type: ASSERTION_GRANT_TYPE, assertion };
  const access = await post(`${url}/v1/token`, null, body);
  const box = new Box(name);
  const bearer = String(access['access_token']);
  box.socket = await FrameSocket.open(`${url}/v1/heartbeat`, bearer, (payload) => {
    heard(box, payload);
  });
  boxes.push(box);
}

const DENIALS = Buffer.from('{"type":"denials"');

function heard(box: Box, payload: Buffer): void {
  if (payload.subarray(0, DENIALS.length).equals(DENIALS)) {
    denied++;
    const { document } = JSON.parse(payload.toString('utf8')) as { document: string };
    const claims = Buffer.from(document.split('.')[1], 'base64url').toString('utf8');
    deniedVersion = (JSON.parse(claims) as { version: number }).version;
    box.socket.send(
      JSON.stringify({ type: 'denials-ack', version: deniedVersion, appliedAtMs: Date.now() }),
    );
    return;
  }
  answered++;
  if (isSampling) latenciesMs.push(performance.now() - box.sentAtMs);
}

/** A call that is told to come later comes later. */
async function post(
  route: string,
  bearer: string | null,
  body: unknown,
): Promise<Record<string, unknown>> {
  for (;;) {
    const answer = await fetch(route, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
      },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text) as Record<string, unknown>;
    if (answer.status !== 429) throw new Error(`${route}: ${answer.status} ${text.slice(0, 200)}`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function heartbeat(bootId: string, sequence: number, denials: number): Heartbeat {
  return {
    type: 'heartbeat',
    sequence,
    sentAtMs: Date.now(),
    bootId,
    health: { status: 'healthy', reasons: [] },
    state: 'serving',
    load: { egressBps: 1e9, servingBps: 1e10, connections: 100, requestsPerSecond: 500 },
    storage: { capacityBytes: 1e12, usedBytes: 5e11, pinnedBytes: 5e11, reactiveBytes: 0 },
    fill: {
      manifestVersion: 0,
      filesWanted: 0,
      filesHeld: 0,
      bytesWanted: 0,
      bytesHeld: 0,
      active: 0,
      rateBps: 0,
      waitingFor: 'manifest',
      problem: null,
    },
    counters: {
      viewerBytes: sequence * 1e8,
      viewerRequests: sequence * 500,
      viewerBytesByReason: { home: sequence * 1e8, content: 0, health: 0, other: 0 },
      viewerBytesUnknownHome: 0,
      missBytes: { peer: 0, tier: 0, origin: 0 },
      fillBytes: { peer: 0, tier: 0, origin: 0 },
      peerBytesServed: 0,
      chunksCorrupt: 0,
      refused: {},
    },
    holdings: { version: 0, digest: '0'.repeat(32), files: 0 },
    versions: { manifest: 0, keys: 1, denials },
  };
}
