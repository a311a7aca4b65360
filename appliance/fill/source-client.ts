/**
 * What the fill asks of one source: a peer, a tier or the origin. `io/source-client.ts` is the edge.
 */
import type { Outcome } from '#base/outcome.ts';
import type { FillSource } from '#control-plane/contract.ts';
import type { ChunkList, FetchPurpose, FileId, TitleId } from '#upstream/contract.ts';

export interface ChunkRun {
  readonly source: FillSource;
  readonly titleId: TitleId;
  readonly list: ChunkList;
  readonly first: number; // chunk indexes, both inclusive
  readonly last: number;
  readonly purpose: FetchPurpose;
  readonly signal: AbortSignal | null;
}

/**
 * Obligations: every call has deadlines and a limit on what it reads; a Failure names the source and says
 * whether another one may help; nothing that comes back has been verified.
 */
export interface SourceClient {
  chunkList(
    source: FillSource,
    titleId: TitleId,
    fileId: FileId,
    purpose: FetchPurpose,
  ): Promise<Outcome<Buffer>>;
  listing(source: FillSource, titleId: TitleId): Promise<Outcome<string>>;
  /**
   * Fetches the run by one range request. `onChunk` is given each chunk as soon as it is complete, in order, and is
   * waited for; 'stop' ends the transfer. Success only when every chunk of the run was given.
   */
  chunks(
    run: ChunkRun,
    onChunk: (index: number, bytes: Buffer) => Promise<'go-on' | 'stop'>,
  ): Promise<Outcome<void>>;
}
