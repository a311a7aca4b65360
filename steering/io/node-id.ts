/**
 * By what name this node is one of several: made at the first start, kept in the state directory.
 *
 * Errors:     throws where the state directory cannot be read or written: it has been opened before
 */
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { codeOf } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import { STEERING_NODE_ID_PATTERN } from '#control-plane/contract.ts';

const HOST_CHARACTERS_MAX = 40;

export function nodeIdOf(stateDir: string, random: Random): string {
  const file = path.join(stateDir, 'node-id');
  try {
    const kept = readFileSync(file, 'utf8').trim();
    if (new RegExp(STEERING_NODE_ID_PATTERN).test(kept)) return kept;
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw thrown;
  }
  const host = os.hostname().replaceAll(/[^A-Za-z0-9-]/g, '-');
  const made = `n-${host.slice(0, HOST_CHARACTERS_MAX)}-${random.below(2 ** 31).toString(16)}${random.below(2 ** 31).toString(16)}`;
  writeFileSync(file, `${made}\n`);
  return made;
}
