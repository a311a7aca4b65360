/**
 * Tells systemd that the box is ready, alive, stopping: by systemd-notify, since Node has no unix datagrams.
 * Without NOTIFY_SOCKET nothing is done. The unit needs NotifyAccess=all.
 */
import { execFile } from 'node:child_process';
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';

const NOTIFY_MS_MAX = 2000;

export class SystemdNotifier {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #isUnderSystemd = process.env['NOTIFY_SOCKET'] !== undefined;
  #watchdog: Timer | null = null;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** From here on the watchdog is fed, as often as the unit's WatchdogSec asks for twice. */
  ready(): void {
    this.#notify('READY=1');
    const watchdogUs = Number(process.env['WATCHDOG_USEC'] ?? 0);
    if (!this.#isUnderSystemd || watchdogUs <= 0) return;
    this.#watchdog = this.#clock.every(watchdogUs / 2000, () => this.#notify('WATCHDOG=1'));
  }

  stopping(): void {
    this.#watchdog?.cancel();
    this.#notify('STOPPING=1');
  }

  #notify(state: string): void {
    if (!this.#isUnderSystemd) return;
    execFile('systemd-notify', [state], { timeout: NOTIFY_MS_MAX }, (error) => {
      if (error !== null) this.#log.warn({ event: 'systemd-notify-failed', state }, error.message);
    });
  }
}
