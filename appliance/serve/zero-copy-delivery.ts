/**
 * Whether a client takes its answer fast enough: a least rate instead of an idle timer, so that one byte a second is no way to
 * hold a connection.
 *
 * Shape:      (window, bytes taken by now, now, limits) -> go-on | new-window | cut
 * Units:      milliseconds of monotonic time; bytes that the kernel took
 * Invariants: (1) only time in which the client was waited for lies in a window
 *             (2) a client above the least rate over each whole window is never cut
 */
import type { SenderLimits } from './sender.ts';

export type DeliveryVerdict = 'go-on' | 'new-window' | 'cut';

export function judgeDelivery(
  windowSinceMs: number,
  bytesInWindow: number,
  nowMs: number,
  limits: Pick<SenderLimits, 'deliveryBytesPerSecondMin' | 'deliveryGraceMs'>,
): DeliveryVerdict {
  const elapsedMs = nowMs - windowSinceMs;
  if (elapsedMs < limits.deliveryGraceMs) return 'go-on';
  const bytesMin = (limits.deliveryBytesPerSecondMin * elapsedMs) / 1000;
  return bytesInWindow < bytesMin ? 'cut' : 'new-window';
}
