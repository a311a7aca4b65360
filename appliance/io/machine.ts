/**
 * What `doctor` reads of a machine: files of /proc, /sys and /run below a root (tests have one of their own), its kernel and its interfaces.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces, release } from 'node:os';
import path from 'node:path';

/** One thing that was looked at. What is not well says what to do about it. */
export type Finding =
  | { readonly level: 'ok'; readonly what: string; readonly todo?: undefined }
  | { readonly level: 'advice' | 'problem'; readonly what: string; readonly todo: string };

export interface Machine {
  readonly root: string;
  readonly kernel: string; // as uname -r says it
  /** Addresses of each network interface. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
}

export function thisMachine(): Machine {
  const addresses = new Map<string, readonly string[]>();
  for (const [name, list] of Object.entries(networkInterfaces())) {
    addresses.set(
      name,
      (list ?? []).map(({ address }) => address),
    );
  }
  return { root: '/', kernel: release(), addresses };
}

/** Null where there is no such file, or it may not be read. */
export function textOf(machine: Machine, file: string): string | null {
  try {
    return readFileSync(path.join(machine.root, file), 'utf8').trim();
  } catch {
    return null;
  }
}

export function numberOf(machine: Machine, file: string): number | null {
  const text = textOf(machine, file);
  return text === null || !/^-?\d+$/.test(text) ? null : Number(text);
}

export function isThere(machine: Machine, file: string): boolean {
  return existsSync(path.join(machine.root, file));
}

export function namesIn(machine: Machine, directory: string): readonly string[] {
  try {
    return readdirSync(path.join(machine.root, directory));
  } catch {
    return [];
  }
}
