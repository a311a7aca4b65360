/**
 * How a process of this folder starts and stops: one line when it is ready, one clear line when it cannot start, a graceful end.
 */
import { systemClock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { codeOf, messageOf } from '#base/outcome.ts';

/** A process that has not stopped by then is ended: the supervisor waits no longer. */
const STOP_MS_MAX = 3000;

export interface Daemon {
  readonly ready: Readonly<Record<string, unknown>>; // what the "ready" line tells
  stop(): Promise<void>;
}

/** Runs until SIGTERM or SIGINT. Throws where it cannot start; the message says what to do. */
export async function runDaemon(log: Logger, start: () => Promise<Daemon>): Promise<void> {
  let daemon: Daemon;
  try {
    daemon = await start();
  } catch (thrown) {
    throw explained(thrown);
  }
  log.info({ event: 'ready', ...daemon.ready }, 'ready');
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  log.info({ event: 'stopping', signal }, 'stopping');
  const giveUp = systemClock.after(STOP_MS_MAX, () => process.exit(0));
  await daemon.stop();
  giveUp.cancel();
  log.info({ event: 'stopped' }, 'stopped');
}

function explained(thrown: unknown): Error {
  const code = codeOf(thrown);
  const words = messageOf(thrown);
  if (code === 'EADDRINUSE') {
    const todo = 'another program listens there: stop it, or set another port in the configuration';
    return new Error(`${words}; ${todo}`, { cause: thrown });
  }
  if (code === 'EADDRNOTAVAIL') {
    return new Error(`${words}; this machine has no such address`, { cause: thrown });
  }
  if (code === 'EACCES') {
    return new Error(`${words}; a port below 1024 or a directory of somebody else`, {
      cause: thrown,
    });
  }
  return thrown instanceof Error ? thrown : new Error(words);
}
