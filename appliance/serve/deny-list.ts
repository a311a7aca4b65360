/**
 * What may not be served whatever its token says: titles, files, signing keys, issuers, and boxes whose grants were revoked.
 *
 * One immutable set, swapped whole: `DenyRegister.current` is read by every request and before each further part of a body,
 * so that a running keep-alive connection's next request is refused, and a body under way ends, as soon as the swap is done.
 *
 * Shape:      (set, title and file | key and issuer | box) -> the word it is refused with, or null
 * Invariants: (1) versions only grow: an older set never takes the place of a newer one
 *             (2) a denied title leaves its files served under their other titles; a denied file is served under none
 *             (3) nothing here waits, allocates or throws: it runs for every request
 */
import type { ApplianceId } from '#control-plane/contract.ts';
import type { FileId, TitleId } from '#upstream/contract.ts';

/** Opened and checked by whoever received it (its signature, its limits), and never changed afterwards. */
export interface DenialSet {
  readonly version: number;
  readonly titles: Iterable<TitleId>;
  readonly files: Iterable<FileId>;
  readonly keyIds: Iterable<string>;
  readonly issuers: Iterable<string>;
  readonly appliances: Iterable<ApplianceId>;
}

export type Denial =
  | 'title-denied'
  | 'file-denied'
  | 'token-key-denied'
  | 'token-issuer-denied'
  | 'grant-revoked';

export class DenyList {
  readonly version: number;
  readonly #titles: ReadonlySet<TitleId>;
  readonly #files: ReadonlySet<FileId>;
  readonly #keyIds: ReadonlySet<string>;
  readonly #issuers: ReadonlySet<string>;
  readonly #appliances: ReadonlySet<ApplianceId>;

  constructor(set: DenialSet) {
    this.version = set.version;
    this.#titles = new Set(set.titles);
    this.#files = new Set(set.files);
    this.#keyIds = new Set(set.keyIds);
    this.#issuers = new Set(set.issuers);
    this.#appliances = new Set(set.appliances);
  }

  content(titleId: TitleId, fileId: FileId | null): Denial | null {
    if (this.#titles.has(titleId)) return 'title-denied';
    return fileId !== null && this.#files.has(fileId) ? 'file-denied' : null;
  }

  token(keyId: string, issuer: string): Denial | null {
    if (this.#keyIds.has(keyId)) return 'token-key-denied';
    return this.#issuers.has(issuer) ? 'token-issuer-denied' : null;
  }

  box(applianceId: ApplianceId): Denial | null {
    return this.#appliances.has(applianceId) ? 'grant-revoked' : null;
  }

  /** All of it, as plain lists: what another thread makes its own list of. */
  toSet(): DenialSet {
    return {
      version: this.version,
      titles: [...this.#titles],
      files: [...this.#files],
      keyIds: [...this.#keyIds],
      issuers: [...this.#issuers],
      appliances: [...this.#appliances],
    };
  }

  /** How many things of each kind are denied: for status and metrics. */
  figures(): Readonly<Record<'titles' | 'files' | 'keyIds' | 'issuers' | 'appliances', number>> {
    return {
      titles: this.#titles.size,
      files: this.#files.size,
      keyIds: this.#keyIds.size,
      issuers: this.#issuers.size,
      appliances: this.#appliances.size,
    };
  }
}

export const NOTHING_DENIED = new DenyList({
  version: 0,
  titles: [],
  files: [],
  keyIds: [],
  issuers: [],
  appliances: [],
});

/** The deny list that holds now. */
export class DenyRegister {
  #current = NOTHING_DENIED;
  #onChange: ((list: DenyList) => void) | null = null;

  /** `told` hears of every swap, right after it. One listener: whoever keeps copies of the list. */
  onChange(told: (list: DenyList) => void): void {
    this.#onChange = told;
  }

  get current(): DenyList {
    return this.#current;
  }

  offer(set: DenialSet): 'taken' | 'stale' {
    if (set.version <= this.#current.version) return 'stale';
    this.#current = new DenyList(set);
    this.#onChange?.(this.#current);
    return 'taken';
  }
}
