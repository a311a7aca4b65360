/**
 * Answers as they stand on the wire behind the question, kept for the next who asks the same.
 *
 * Two kinds. Names whose answer is the same for all clients: learned from answers that were given, good for one fleet. The
 * best boxes: by the place of a client in the prefix table and its kind, worked out when first asked for. Those are kept
 * over worlds too, of which there are four a second, as long as the tiers that they were made from stand as they stood.
 *
 * Invariants: (1) an image is what writeResponse makes of answerQuery's response in the same world
 *             (2) at most NAMES_MAX names and PLACES_MAX places; all are forgotten at once where there are more
 * Source:     RFC 1035 4.1.4: names in an image point into the question, whose labels have the same lengths however they are spelled
 */
import type { Candidate, Tier, World } from '../candidates.ts';
import type { Fleet } from '../fleet.ts';
import { hashText } from '../hashing.ts';
import type { PrefixTable } from '../place.ts';
import { hashOf, LOWER } from './common-question.ts';
import {
  CLASS_IN,
  EMPTY_RESPONSE,
  HEADER_BYTES,
  RCODE,
  TCP_MESSAGE_MAX,
  TYPE,
  type Query,
  type Response,
} from './message.ts';
import { encodeName, writeResponse } from './response.ts';
import {
  BEST_LABEL,
  bestResponse,
  boxAddresses,
  boxesFor,
  CLIENT_KINDS,
  type Zone,
} from './zone.ts';

export interface AnswerImage {
  /** Answers, authority, additional records. */
  readonly body: Uint8Array;
  readonly answers: number;
  readonly authority: number;
  readonly additional: number;
  readonly isAuthoritative: boolean;
  readonly ede: number | null;
  /** Whether the scope of a client subnet is that of the place; else the answer is everybody's. */
  readonly isScoped: boolean;
  readonly nameHash: number; // as the rate limit counts it
}

/** A name and type that were asked for. Of the best boxes `image` is null: their answer depends on the client. */
export interface KnownName {
  readonly name: Uint8Array; // on the wire, in lower case
  readonly type: number;
  readonly fleet: Fleet | null; // that `image` was made for
  readonly image: AnswerImage | null;
}

interface PlaceAnswers {
  world: World;
  tiers: readonly Tier[]; // that the answers were made from
  isComplete: boolean; // there were no more
  readonly kinds: Uint8Array; // 1 + place in `images`; 0: not worked out yet
  readonly images: AnswerImage[];
}

const NAMES_MAX = 16_384;
const PLACES_MAX = 32_768; // of about a kilobyte

export class AnswerImages {
  readonly #zone: Zone;
  readonly #scratch = Buffer.alloc(TCP_MESSAGE_MAX + 1);
  readonly #names = new Map<number, KnownName>();
  readonly #best: readonly KnownName[];
  readonly #bestLabels: readonly string[];
  readonly #bestHash: number;
  #prefixes: PrefixTable | null = null;
  readonly #places: readonly [v4: Map<number, PlaceAnswers>, v6: Map<number, PlaceAnswers>] = [
    new Map(),
    new Map(),
  ];

  constructor(zone: Zone) {
    this.#zone = zone;
    this.#bestLabels = [BEST_LABEL, ...zone.labels];
    this.#bestHash = hashText(this.#bestLabels.join('.'));
    const name = encodeName(this.#bestLabels);
    this.#best = [TYPE.A, TYPE.AAAA].map((type) => {
      return { name, type, fleet: null, image: null };
    });
    this.#addBest();
  }

  /** Null where that name and type were not learned, or for another fleet. */
  find(
    bytes: Uint8Array,
    nameAt: number,
    nameBytes: number,
    type: number,
    hash: number,
    fleet: Fleet,
  ): KnownName | null {
    const known = this.#names.get(hash);
    if (known === undefined || known.type !== type || known.name.length !== nameBytes) return null;
    if (known.image !== null && known.fleet !== fleet) return null;
    const { name } = known;
    for (let at = 0; at < nameBytes; at++) {
      if (name[at] !== LOWER[bytes[nameAt + at]]) return null;
    }
    return known;
  }

  /** Keeps what was answered, where it is the same for everybody and as long as the fleet is. */
  learn(hash: number, query: Query, response: Response, fleet: Fleet): void {
    const { name, question, type } = query;
    const isKept =
      response.rcode === RCODE.noError &&
      response.authoritative &&
      query.class === CLASS_IN &&
      name !== null &&
      !(this.#names.get(hash)?.image === null);
    if (!isKept) return;
    const lower = question.subarray(0, name.bytes).map((byte) => LOWER[byte]);
    const image = this.#imageOf(query, response, hashText(name.labels.join('.')), false);
    if (this.#names.size >= NAMES_MAX) {
      this.#names.clear();
      this.#addBest();
    }
    this.#names.set(hash, { name: lower, type, fleet, image });
  }

  /** The best boxes for a kind of client in a place. */
  best(world: World, cover: number, kind: number, bytesWanted: 4 | 16): AnswerImage {
    if (world.fleet.prefixes !== this.#prefixes) {
      this.#forgetPlaces();
      this.#prefixes = world.fleet.prefixes;
    }
    const places = this.#places[bytesWanted === 4 ? 0 : 1];
    let place = places.get(cover);
    if (place === undefined || (place.world !== world && !stillHolds(place, world, cover))) {
      if (places.size >= PLACES_MAX) this.#forgetPlaces();
      place = {
        world,
        tiers: [],
        isComplete: false,
        kinds: new Uint8Array(CLIENT_KINDS),
        images: [],
      };
      places.set(cover, place);
    }
    const known = place.kinds[kind];
    return known === 0
      ? this.#workOut(place, world, cover, kind, bytesWanted)
      : place.images[known - 1];
  }

  #workOut(
    place: PlaceAnswers,
    world: World,
    cover: number,
    kind: number,
    bytesWanted: 4 | 16,
  ): AnswerImage {
    const candidates = boxesFor(world, cover, null);
    const addresses = boxAddresses(world, candidates, kind, bytesWanted);
    const response = bestResponse(this.#zone, world, this.#bestLabels, addresses, {
      ...EMPTY_RESPONSE,
      authoritative: true,
    });
    const type = bytesWanted === 4 ? TYPE.A : TYPE.AAAA;
    const query = questionOf(this.#bestLabels, type);
    const made = this.#imageOf(query, response, this.#bestHash, addresses.length > 0);
    // Boxes of a site make few orders: most kinds share an image.
    let at = place.images.findIndex(({ body }) => Buffer.compare(body, made.body) === 0);
    if (at === -1) at = place.images.push(made) - 1;
    place.kinds[kind] = at + 1;
    place.tiers = candidates.judged();
    place.isComplete = candidates.isComplete;
    return place.images[at];
  }

  #imageOf(query: Query, response: Response, nameHash: number, isScoped: boolean): AnswerImage {
    const out = this.#scratch;
    const length = writeResponse(out, { ...query, edns: null }, response, TCP_MESSAGE_MAX);
    return {
      body: Uint8Array.from(out.subarray(HEADER_BYTES + query.question.length, length)),
      answers: out.readUInt16BE(6),
      authority: out.readUInt16BE(8),
      additional: out.readUInt16BE(10),
      isAuthoritative: response.authoritative,
      ede: response.ede,
      isScoped,
      nameHash,
    };
  }

  #addBest(): void {
    for (const known of this.#best) this.#names.set(hashOf(known.name, known.type), known);
  }

  #forgetPlaces(): void {
    for (const places of this.#places) places.clear();
  }
}

/** Whether a place's answers are still what that world would give; then they are taken as that world's. */
function stillHolds(place: PlaceAnswers, world: World, cover: number): boolean {
  const before = place.world;
  if (before.load.isStale !== world.load.isStale) return false;
  if (before.fleet !== world.fleet) {
    const isSameOrigin =
      before.fleet.snapshot.origin.baseUrl === world.fleet.snapshot.origin.baseUrl;
    // "None" carries the zone's serial, which is the fleet's version.
    if (!isSameOrigin || place.images.some(({ isScoped }) => !isScoped)) return false;
  }
  const candidates = boxesFor(world, cover, null);
  const { tiers } = place;
  for (let at = 0; at < tiers.length; at++) {
    const tier = candidates.tierAt(at);
    if (tier === undefined || !isSameTier(tiers[at], tier)) return false;
  }
  if (place.isComplete && candidates.tierAt(tiers.length) !== undefined) return false;
  place.world = world;
  return true;
}

/** Whether rankBoxes would find the same in both. */
function isSameTier(a: Tier, b: Tier): boolean {
  if (a === b) return true;
  if (a.all.length !== b.all.length) return false;
  for (let at = 0; at < a.all.length; at++) if (!isSameBox(a.all[at], b.all[at])) return false;
  return true;
}

function isSameBox(a: Candidate, b: Candidate): boolean {
  if (a.usability !== b.usability || a.isBusy !== b.isBusy) return false;
  const one = a.appliance;
  const other = b.appliance;
  return (
    one === other ||
    (one.applianceId === other.applianceId &&
      one.siteId === other.siteId &&
      one.address === other.address &&
      one.entry.weight === other.entry.weight)
  );
}

function questionOf(labels: readonly string[], type: number): Query {
  const name = encodeName(labels);
  return {
    id: 0,
    opcode: 0,
    recursionDesired: false,
    question: Buffer.concat([name, Buffer.from([type >> 8, type & 255, 0, CLASS_IN])]),
    name: { labels, bytes: name.length },
    type,
    class: CLASS_IN,
    edns: null,
  };
}
