/**
 * How a process starts and stops: one line when it is ready, one clear line when it cannot start, a graceful end.
 *
 *   starting --ready--> running --SIGTERM | SIGINT--> stopping --> ended(0)
 *      |  '-----SIGTERM | SIGINT: the start is broken off ------'
 *      '--thrown--> ended(1), with what is wrong and what to do
 *
 * Invariants: (1) a signal ends the process within STOP_MS_MAX, also in the middle of a start; further signals change nothing
 *             (2) exactly one line with "event":"ready", and none after a signal
 */
import type { Logger } from '../log.ts';
import { codeOf, messageOf } from '../outcome.ts';

/** A process that has not stopped by then is ended: supervisors wait 3 s and no longer. */
const STOP_MS_MAX = 2800;

export interface Daemon {
  readonly ready: Readonly<Record<string, unknown>>; // what the "ready" line tells
  stop(): Promise<void>;
}

/**
 * Runs until SIGTERM or SIGINT; the process ends when nothing is left to do, and after STOP_MS_MAX at the latest. Throws where it cannot start; the message says what to do.
 * `start` is given a signal that is aborted when the process is asked to stop meanwhile.
 */
export async function runDaemon(
  log: Logger,
  start: (signal: AbortSignal) => Promise<Daemon>,
): Promise<void> {
  const asked = new AbortController();
  const stopAsked = new Promise<void>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.on(name, () => {
        if (asked.signal.aborted) return;
        log.info({ event: 'stopping', signal: name }, 'stopping');
        // Unreferenced: a process whose work has ended is not kept waiting for it.
        setTimeout(() => process.exit(0), STOP_MS_MAX).unref();
        asked.abort();
        resolve();
      });
    }
  });
  let daemon: Daemon;
  try {
    daemon = await start(asked.signal);
  } catch (thrown) {
    if (asked.signal.aborted) process.exit(0); // what broke off is no news
    throw explained(thrown);
  }
  if (!asked.signal.aborted) log.info({ event: 'ready', ...daemon.ready }, 'ready');
  await stopAsked;
  try {
    await daemon.stop();
  } catch (thrown) {
    log.error({ event: 'stopped', why: messageOf(thrown) }, 'could not stop cleanly');
    process.exit(1);
  }
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
