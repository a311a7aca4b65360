/**
 * The deny list as it comes in: verified, in force, acknowledged, deleted, proved.
 *
 *   pushed --signature, version--> in force --kept on disk--> acknowledged --files gone--> proof signed by this box's key
 *
 * Errors:     a list that does not verify, or is older, changes nothing; the one in force stays
 * Invariants: (1) nothing is acknowledged before requests are refused by it
 *             (2) versions only grow, also over a restart: the last list is read before anything is served
 *             (3) a file goes only when none of its titles is left, and when the disk's catalogue has forgotten it
 */
import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import {
  DENIAL_DELETIONS_PER_PROOF_MAX,
  DenialProofSchema,
  type ApplianceFrame,
  type DenialProof,
} from '#appliance/contract.ts';
import { checker } from '#base/config.ts';
import type { Logger } from '#base/log.ts';
import {
  DENIALS_MAX,
  openDenials,
  type Denial,
  type DenialsDocument,
  type KeyRing,
} from '#control-plane/contract.ts';
import type { DenialSet, DenyRegister } from '../serve/deny-list.ts';
import type { StoredEntry } from '../store/entry.ts';
import type { Store } from '../store/store.ts';
import type { KeptDocuments } from './kept-documents.ts';

const LIST_NAME = 'denials.jws';
const DELETIONS_NAME = 'denial-deletions.json';
const ENTRIES_PER_PIECE = 5000; // between two turns of the event loop

type Deletion = DenialProof['deletions'][number];

const checkKeptDeletions = checker(
  Type.Array(DenialProofSchema.properties.deletions.items, { maxItems: DENIALS_MAX }),
);

export interface DenialIntakeDeps {
  readonly applianceId: string;
  readonly kept: KeptDocuments;
  readonly log: Logger;
  readonly keys: () => KeyRing | null;
  readonly nowMs: () => number; // trusted
  readonly register: DenyRegister;
  readonly store: Store;
  readonly sign: (proof: DenialProof) => Promise<string>;
  readonly send: (frame: ApplianceFrame) => void;
  /** A new list holds: what is wanted is looked at again before files go. */
  readonly onApplied: () => Promise<void>;
}

export class DenialIntake {
  readonly #deps: DenialIntakeDeps;
  readonly #deletions = new Map<number, Deletion>(); // by denial
  #list: DenialsDocument | null = null;
  #sha256 = '';
  #appliedAtMs = 0;
  #isSwept = false; // the store is read in: what it holds is known
  #turn: Promise<void> = Promise.resolve();

  constructor(deps: DenialIntakeDeps) {
    this.#deps = deps;
    const kept = checkKeptDeletions(deps.kept.readJson(DELETIONS_NAME));
    if (kept.ok) for (const deletion of kept.value) this.#deletions.set(deletion.id, deletion);
  }

  /** Before anything is served. */
  async loadKept(): Promise<void> {
    const text = this.#deps.kept.read(LIST_NAME)?.toString('latin1');
    if (text !== undefined) await this.#take(text, false);
  }

  take(text: string): Promise<void> {
    return this.#inTurn(() => this.#take(text, true));
  }

  /** The store is read in: files that were denied while this box was off go now. */
  storeLoaded(): Promise<void> {
    this.#isSwept = true;
    return this.#inTurn(() => this.#sweep());
  }

  /** A new connection: what was said on the last one may not have arrived. */
  connected(): void {
    if (this.#list === null) return;
    this.#acknowledge();
    void this.#inTurn(() => this.#prove([...this.#deletions.values()]));
  }

  /** True where no title is left under which the file may be served. */
  isDenied(fileId: string, titles: readonly string[]): boolean {
    const { current } = this.#deps.register;
    if (titles.length === 0) return current.content('', fileId) !== null;
    return titles.every((titleId) => current.content(titleId, fileId) !== null);
  }

  async #take(text: string, isNew: boolean): Promise<void> {
    const { keys, kept, log, nowMs, onApplied, register } = this.#deps;
    const ring = keys();
    if (ring === null) return; // sent again with the next connection
    const opened = await openDenials(text, ring);
    if (!opened.ok) {
      log.error({ event: 'denials-refused' }, `a deny list is not taken: ${opened.failure}`);
      return;
    }
    const list = opened.value;
    if (register.offer(denialSetOf(list)) === 'stale') {
      if (list.version === this.#list?.version && isNew) this.#acknowledge();
      return;
    }
    this.#list = list;
    this.#sha256 = createHash('sha256').update(text).digest('base64url');
    this.#appliedAtMs = Math.floor(nowMs());
    const inForce = new Set(list.denials.map(({ id }) => id));
    for (const id of this.#deletions.keys()) if (!inForce.has(id)) this.#deletions.delete(id);
    if (!isNew) return;
    kept.write(LIST_NAME, text);
    this.#acknowledge();
    log.info(
      { event: 'denials-taken', version: list.version, denials: list.denials.length },
      'a deny list is in force',
    );
    await onApplied();
    await this.#sweep();
  }

  #acknowledge(): void {
    const version = this.#list?.version ?? 0;
    this.#deps.send({ type: 'denials-ack', version, appliedAtMs: this.#appliedAtMs });
  }

  /** Deletes what may be served under no title, denial by denial; says so. */
  async #sweep(): Promise<void> {
    if (!this.#isSwept || this.#list === null) return;
    const open = this.#list.denials.filter(
      ({ id, kind }) => (kind === 'title' || kind === 'file') && !this.#deletions.has(id),
    );
    const denied = await this.#deniedEntries();
    if (open.length === 0 && denied.length === 0) return;
    const sizes = denied.map((entry) => ({ ...namesOf(entry), bytes: entry.presentBytes }));
    for (const entry of denied) this.#deps.store.drop(entry);
    for (const { fileId } of denied) await this.#deps.store.left(fileId);
    const atMs = Math.floor(this.#deps.nowMs());
    const proved = open.map((denial): Deletion => {
      const own = sizes.filter((entry) => isOf(denial, entry));
      const bytes = own.reduce((sum, entry) => sum + entry.bytes, 0);
      return { id: denial.id, atMs, files: own.length, bytes };
    });
    for (const deletion of proved) this.#deletions.set(deletion.id, deletion);
    this.#deps.kept.write(DELETIONS_NAME, JSON.stringify([...this.#deletions.values()]));
    this.#deps.log.info(
      { event: 'denied-deleted', files: denied.length, denials: proved.map(({ id }) => id) },
      'denied files were deleted',
    );
    await this.#prove(proved);
  }

  async #deniedEntries(): Promise<readonly StoredEntry[]> {
    const denied: StoredEntry[] = [];
    let looked = 0;
    for (const entry of this.#deps.store.entries()) {
      if (++looked % ENTRIES_PER_PIECE === 0) await new Promise((next) => setImmediate(next));
      if (!entry.isGone && this.isDenied(entry.fileId, entry.titles)) denied.push(entry);
    }
    return denied;
  }

  async #prove(deletions: readonly Deletion[]): Promise<void> {
    const { applianceId, send, sign } = this.#deps;
    for (let at = 0; at < deletions.length; at += DENIAL_DELETIONS_PER_PROOF_MAX) {
      const proof = await sign({
        applianceId,
        version: this.#list?.version ?? 0,
        documentSha256: this.#sha256,
        appliedAtMs: this.#appliedAtMs,
        deletions: deletions.slice(at, at + DENIAL_DELETIONS_PER_PROOF_MAX),
      });
      send({ type: 'denials-proof', proof });
    }
  }

  #inTurn(run: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(run);
    return this.#turn;
  }
}

function denialSetOf({ version, denials }: DenialsDocument): DenialSet {
  const of = (kind: Denial['kind']): string[] =>
    denials.filter((denial) => denial.kind === kind).map(({ value }) => value);
  return {
    version,
    titles: of('title'),
    files: of('file'),
    keyIds: of('key'),
    issuers: of('issuer'),
    appliances: of('appliance'),
  };
}

function namesOf({ fileId, titles }: StoredEntry): { fileId: string; titles: readonly string[] } {
  return { fileId, titles };
}

function isOf(denial: Denial, entry: { fileId: string; titles: readonly string[] }): boolean {
  return denial.kind === 'file'
    ? denial.value === entry.fileId
    : entry.titles.includes(denial.value);
}
