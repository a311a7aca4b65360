/**
 * What this box counts since its start. One object, plain numbers, added to from the hot path; read by the heartbeat,
 * the status page and the metrics.
 */
import { REASONS, type Reason } from '#appliance/contract.ts';
import type { FillSource } from '#control-plane/contract.ts';
import type { FetchPurpose } from '#upstream/contract.ts';
import type { FetchLedger } from '../fill/chunk-fetcher.ts';

type Kind = FillSource['kind'];

const REFUSAL_WORDS_MAX = 64; // words are ours, so that this is never reached; a bound all the same

export class Counters implements FetchLedger {
  viewerBytes = 0;
  viewerRequests = 0;
  viewersUnderWay = 0; // answers to viewers that are being sent now
  viewerBytesUnknownHome = 0;
  peerBytesServed = 0;
  chunksCorruptFromSources = 0;
  readonly viewerBytesByReason: Record<Reason, number> = {
    home: 0,
    content: 0,
    health: 0,
    other: 0,
  };
  readonly missBytes: Record<Kind, number> = { peer: 0, tier: 0, origin: 0 };
  readonly fillBytes: Record<Kind, number> = { peer: 0, tier: 0, origin: 0 };
  readonly refused = new Map<string, number>();
  readonly reasons: readonly Reason[] = REASONS;

  fetched(purpose: FetchPurpose, kind: Kind, bytes: number): void {
    (purpose === 'fill' ? this.fillBytes : this.missBytes)[kind] += bytes;
  }

  corrupt(): void {
    this.chunksCorruptFromSources++;
  }

  refuse(word: string, count = 1): void {
    const known = this.refused.get(word);
    if (known === undefined && this.refused.size >= REFUSAL_WORDS_MAX) return;
    this.refused.set(word, (known ?? 0) + count);
  }
}
