/**
 * The deny list: taken from the operator, signed, pushed to every connected box at once, and what each box answers.
 *
 *   deny | lift --written, signed--> pushed --denials-ack--> acknowledged --denials-proof--> deleted
 *
 * Invariants: (1) a change is on disk before it is pushed: a restart never forgets a takedown
 *             (2) one change at a time: the list that is pushed last is the newest
 *             (3) a proof is taken only where the box's own enrolled key signed it
 */
import { checkDenialProof } from '#appliance/contract.ts';
import type { Clock, Timer } from '#base/clock.ts';
import { importVerifyingKey, openCompact, signCompact, type SigningKey } from '#base/jws.ts';
import type { Logger } from '#base/log.ts';
import { MINUTE_MS } from '#base/units.ts';
import {
  DENIALS_MAX,
  JWS_TYPE,
  type ApplianceId,
  type Denial,
  type DenialKind,
  type DenialsDocument,
} from '../contract.ts';
import { DenySet, nextDenialsVersion, type DenialRecord } from '../denials.ts';
import type { BoxRecord } from '../fleet.ts';
import type { DenialStore, StoredAck, StoredDeletion } from './denial-store.ts';
import { HttpProblem } from './http-problem.ts';
import type { Store } from './store.ts';

const FLUSH_MS = 250; // what boxes say is written together: one transaction for a fleet's answers
const WAITING_MAX = 50_000;
const CONTENT_KINDS: readonly DenialKind[] = ['title', 'file'];

export interface DenialDeskDeps {
  readonly kept: DenialStore;
  readonly numbers: Pick<Store, 'number' | 'setNumber'>;
  readonly key: SigningKey;
  readonly clock: Clock;
  readonly log: Logger;
  readonly boxRecord: (applianceId: ApplianceId) => BoxRecord | undefined;
  /** A new list holds: `document` is what boxes are sent. */
  readonly onChange: (set: DenySet, document: string) => void;
}

export class DenialDesk {
  readonly #deps: DenialDeskDeps;
  readonly #acknowledged = new Map<ApplianceId, number>(); // latest version
  #set: DenySet;
  #document: string | null = null;
  #acks: StoredAck[] = [];
  #deletions: StoredDeletion[] = [];
  #timer: Timer | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(deps: DenialDeskDeps) {
    this.#deps = deps;
    const { kept, numbers } = deps;
    const version = numbers.number('denials_version', () => 0);
    const contentVersion = numbers.number('denials_content_version', () => 0);
    this.#set = new DenySet(version, contentVersion, kept.inForce());
    for (const ack of kept.latestAcks()) this.#acknowledged.set(ack.applianceId, ack.version);
  }

  /** Signs what is in force: before anybody connects. */
  async start(): Promise<void> {
    if (this.#set.version > 0) this.#document = await this.#sign(this.#set);
    this.#timer = this.#deps.clock.every(FLUSH_MS, () => this.flush());
  }

  stop(): void {
    this.#timer?.cancel();
    this.flush();
  }

  get current(): DenySet {
    return this.#set;
  }

  /** The signed list; null while nothing was ever denied. */
  get document(): string | null {
    return this.#document;
  }

  acknowledgedBy(applianceId: ApplianceId): number {
    return this.#acknowledged.get(applianceId) ?? 0;
  }

  /** The same thing denied again is the same denial. */
  deny(
    kind: DenialKind,
    value: string,
    reason: string,
    who: string,
  ): Promise<{ record: DenialRecord; isNew: boolean }> {
    return this.#inTurn(async () => {
      const { clock, kept } = this.#deps;
      const present = this.#set.inForce.find(
        (entry) => entry.kind === kind && entry.value === value,
      );
      if (present !== undefined) return { record: kept.record(present.id)!, isNew: false };
      if (this.#set.inForce.length >= DENIALS_MAX) {
        throw new HttpProblem(
          409,
          'denials-full',
          `${DENIALS_MAX} denials are in force, the most that a box takes: lift some first`,
        );
      }
      const nowMs = clock.wallMs();
      const version = nextDenialsVersion(this.#set.version, nowMs);
      const record = kept.add({ kind, value, sinceMs: nowMs }, reason, who, version);
      await this.#swap(version, kind);
      return { record, isNew: true };
    });
  }

  lift(id: number, who: string): Promise<DenialRecord | null> {
    return this.#inTurn(async () => {
      const { clock, kept } = this.#deps;
      const record = kept.record(id);
      if (record === null || record.liftedAtMs !== null) return record;
      const nowMs = clock.wallMs();
      kept.lift(id, who, nowMs);
      await this.#swap(nextDenialsVersion(this.#set.version, nowMs), record.kind);
      return kept.record(id);
    });
  }

  /** A box says that a version is in force there; each heartbeat says it again. */
  acknowledged(applianceId: ApplianceId, version: number): void {
    if (version <= this.acknowledgedBy(applianceId) || version > this.#set.version) return;
    this.#acknowledged.set(applianceId, version);
    this.#acks.push({ applianceId, version, atMs: this.#deps.clock.wallMs() });
    if (this.#acks.length >= WAITING_MAX) this.flush();
  }

  /** A box's signed word that something is deleted. One that does not verify is logged and left out. */
  async proved(applianceId: ApplianceId, proof: string): Promise<void> {
    const { boxRecord, clock, log } = this.#deps;
    const record = boxRecord(applianceId);
    if (record === undefined) return;
    const key = await importVerifyingKey(record.publicJwk);
    if (key === null) return;
    const opened = await openCompact(proof, new Map([[key.kid, key]]), JWS_TYPE.denialProof);
    const checked = opened.ok ? checkDenialProof(opened.value.payload) : null;
    const isGood =
      checked?.ok === true &&
      checked.value.applianceId === applianceId &&
      checked.value.version <= this.#set.version;
    if (!isGood) {
      const why = opened.ok ? 'it does not say what a proof says' : opened.failure;
      log.warn({ applianceId, why }, 'a proof of deletion was refused');
      return;
    }
    const latestMs = clock.wallMs() + MINUTE_MS;
    for (const { id, atMs, files, bytes } of checked.value.deletions) {
      const known = { denialId: id, applianceId, files, bytes, proof };
      this.#deletions.push({ ...known, atMs: Math.min(atMs, latestMs) });
    }
    if (this.#deletions.length >= WAITING_MAX) this.flush();
  }

  flush(): void {
    if (this.#acks.length + this.#deletions.length === 0) return;
    const [acks, deletions] = [this.#acks, this.#deletions];
    this.#acks = [];
    this.#deletions = [];
    this.#deps.kept.putAcks(acks, deletions);
  }

  forget(applianceId: ApplianceId): void {
    this.#acknowledged.delete(applianceId);
  }

  async #swap(version: number, kind: DenialKind): Promise<void> {
    const { kept, numbers, onChange } = this.#deps;
    const isContent = CONTENT_KINDS.includes(kind);
    const contentVersion = isContent ? version : this.#set.contentVersion;
    numbers.setNumber('denials_version', version);
    numbers.setNumber('denials_content_version', contentVersion);
    const set = new DenySet(version, contentVersion, kept.inForce());
    const document = await this.#sign(set);
    this.#set = set;
    this.#document = document;
    onChange(set, document);
  }

  #sign(set: DenySet): Promise<string> {
    const payload: DenialsDocument = {
      version: set.version,
      issuedAtMs: this.#deps.clock.wallMs(),
      denials: [...set.inForce] satisfies Denial[],
    };
    return signCompact(this.#deps.key, JWS_TYPE.denials, payload);
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(run);
    this.#turn = next.catch(() => undefined);
    return next;
  }
}
