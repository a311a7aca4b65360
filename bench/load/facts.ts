/**
 * What a figure needs beside it: the machine that it was measured on, and how busy it was; and a bench's own arguments.
 */
import { cpus, loadavg, release } from 'node:os';

export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
  /** Load average of the last minute; well above the bench's own two busy cores, others were at work too. */
  readonly loadAverage: number;
}

export function machineFacts(): MachineFacts {
  const all = cpus();
  return {
    cpu: all[0]?.model ?? 'unknown',
    cores: all.length,
    kernel: release(),
    node: process.version,
    loadAverage: Math.round(loadavg()[0] * 10) / 10,
  };
}

/** `--name value` */
export function textArgument(args: readonly string[], name: string): string | null {
  const at = args.indexOf(name);
  if (at === -1) return null;
  const value = args.at(at + 1);
  if (value === undefined) throw new Error(`${name} needs a value`);
  return value;
}

export function numberArgument(args: readonly string[], name: string): number | null {
  const text = textArgument(args, name);
  if (text === null) return null;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${name} needs a number above 0, not ${text}`);
  return value;
}
