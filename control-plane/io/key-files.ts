/**
 * The key directory: written once by `nightfill keys init`, read by the daemons that own a key.
 *
 * Shape:      DIR/{root,manifest,plan,token,grant}.jwk (private, 0600), online-keys.jws, root.pub.jwk, root.fingerprint
 * Errors:     KeyFilesProblem, whose message says what is wrong, where, and what to do
 * Invariants: (1) nothing in DIR is ever overwritten
 *             (2) root.jwk is read by nobody here: move it off the machine once the set is made
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { importSigningKey, type JWK, type SigningKey } from '#base/jws.ts';
import { messageOf } from '#base/outcome.ts';
import { openKeys, type KeysAnswer, type KeyUse } from '../contract.ts';
import { KEY_USES, makeKeySet, type ControlPlaneKeys, type KeySet } from '../trust.ts';

const PRIVATE_MODE = 0o600;
const PUBLIC_MODE = 0o644;

export class KeyFilesProblem extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'KeyFilesProblem';
  }
}

/** Makes the key set of a new CDN in `directory`. Refuses where any of its files is there already. */
export async function initKeyFiles(directory: string, nowMs: number): Promise<KeySet> {
  const set = await makeKeySet(nowMs);
  const files: readonly [name: string, text: string, mode: number][] = [
    ['root.jwk', jsonText(set.rootPrivate), PRIVATE_MODE],
    ...KEY_USES.map(
      (use) =>
        [`${use}.jwk`, jsonText(set.privateOf[use]), PRIVATE_MODE] as [string, string, number],
    ),
    ['online-keys.jws', `${set.online}\n`, PUBLIC_MODE],
    ['root.pub.jwk', jsonText(set.rootPublic), PUBLIC_MODE],
    ['root.fingerprint', `${set.rootFingerprint}\n`, PUBLIC_MODE],
  ];
  const present = files
    .map(([name]) => path.join(directory, name))
    .filter((file) => existsSync(file));
  if (present.length > 0) {
    throw new KeyFilesProblem(
      `${directory} holds keys already (${present.map((file) => path.basename(file)).join(', ')}); ` +
        'they are not overwritten, because every enrolled appliance trusts them: give another directory',
    );
  }
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // 'wx' makes a race between two starts a clear failure, never a mixed set.
    for (const [name, text, mode] of files) {
      writeFileSync(path.join(directory, name), text, { mode, flag: 'wx' });
    }
  } catch (thrown) {
    throw new KeyFilesProblem(`cannot write keys into ${directory}: ${messageOf(thrown)}`, thrown);
  }
  return set;
}

/** What the control plane needs of `directory`. The set of online keys is checked against the root first. */
export async function loadControlPlaneKeys(directory: string): Promise<ControlPlaneKeys> {
  const rootFingerprint = readText(directory, 'root.fingerprint').trim();
  const answer: KeysAnswer = {
    root: { ...parseJwk(directory, 'root.pub.jwk') },
    online: readText(directory, 'online-keys.jws').trim(),
  };
  const opened = await openKeys(answer, rootFingerprint);
  if (!opened.ok) {
    throw new KeyFilesProblem(
      `${directory} is not one key set: ${opened.failure}; restore the directory, ` +
        'or make a new set with "nightfill keys init" (every appliance must then enrol again)',
    );
  }
  const ring = opened.value;
  const manifestKey = await loadSigningKey(directory, 'manifest');
  const grantKey = await loadSigningKey(directory, 'grant');
  for (const [use, key] of [
    ['manifest', manifestKey],
    ['grant', grantKey],
  ] as const) {
    if (!ring.byUse[use].has(key.kid)) {
      throw new KeyFilesProblem(
        `${path.join(directory, `${use}.jwk`)} is not in the set that the root signed ` +
          '(online-keys.jws): nobody would trust what it signs; restore the matching pair',
      );
    }
  }
  return { manifestKey, grantKey, ring, answer, rootFingerprint };
}

async function loadSigningKey(directory: string, use: KeyUse): Promise<SigningKey> {
  const name = `${use}.jwk`;
  const file = path.join(directory, name);
  const jwk = parseJwk(directory, name);
  const { mode } = statSync(file);
  if ((mode & 0o077) !== 0) {
    throw new KeyFilesProblem(
      `${file} can be read by others (mode ${(mode & 0o777).toString(8)}): run "chmod 600 ${file}"`,
    );
  }
  try {
    return await importSigningKey(jwk);
  } catch (thrown) {
    throw new KeyFilesProblem(`${file} is no usable private key: ${messageOf(thrown)}`, thrown);
  }
}

function parseJwk(directory: string, name: string): JWK {
  try {
    return JSON.parse(readText(directory, name)) as JWK;
  } catch (thrown) {
    if (thrown instanceof KeyFilesProblem) throw thrown;
    throw new KeyFilesProblem(`${path.join(directory, name)}: ${messageOf(thrown)}`, thrown);
  }
}

function readText(directory: string, name: string): string {
  const file = path.join(directory, name);
  try {
    return readFileSync(file, 'utf8');
  } catch (thrown) {
    throw new KeyFilesProblem(
      `cannot read ${file}: ${messageOf(thrown)}; "nightfill keys init ${directory}" makes a key set`,
      thrown,
    );
  }
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
