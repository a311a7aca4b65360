/**
 * Which sender serves: the fastest one that works on this machine, or the one that the operator asked for; and on how many threads.
 */
import { availableParallelism } from 'node:os';
import { loadLinux, whyNoLinux, type Linux } from '#base/io/linux.ts';
import { failed, success, type Outcome } from '#base/outcome.ts';
import type { Handler, Sender, SenderLimits } from '../serve/sender.ts';
import type { HotChunks } from './hot-chunks.ts';
import { PortableSender } from './portable-sender.ts';
import { ZeroCopySender } from './zero-copy-sender.ts';

export type SenderWish = 'auto' | 'zero-copy' | 'portable';

/** Makes the sender of several threads; `portable` is its own. */
export type MakePool = (listeners: number, linux: Linux, portable: PortableSender) => Sender;

/** `cores`: what "auto" listeners are. */
export function listenersOf(wish: number | 'auto', cores = availableParallelism()): number {
  return wish === 'auto' ? cores : wish;
}

/** A Failure only where zero-copy was asked for by name and cannot be had: then the reason is the operator's to mend. */
export function chooseSender(
  wish: SenderWish,
  handle: Handler,
  limits: SenderLimits,
  hotChunks: HotChunks,
  listeners = 1,
  makePool: MakePool | null = null,
): Outcome<Sender> {
  const portable = new PortableSender(handle, limits, hotChunks);
  if (wish === 'portable') return success(portable);
  const linux = loadLinux();
  if (linux !== null) {
    if (listeners > 1 && makePool !== null) return success(makePool(listeners, linux, portable));
    return success(new ZeroCopySender(handle, limits, linux, portable));
  }
  if (wish === 'auto') return success(portable);
  return failed({
    code: 'sender-unavailable',
    source: 'self',
    retry: 'never',
    detail: `"sender": "zero-copy" does not work here: ${whyNoLinux()}. "auto" or "portable" serve the same, with more CPU`,
  });
}
