/**
 * Structured logs, one line per event. JSON on stdout; pretty for a person at a terminal.
 *
 * A log line carries no client address beyond need and never a token or a key.
 */
import { pino, type Logger } from 'pino';

export type { Logger } from 'pino';
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function createLogger(name: string, level: LogLevel = 'info'): Logger {
  return pino({
    level,
    base: { service: name, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: ['token', 'authorization', 'headers.authorization'],
  });
}
