/**
 * The one-machine CDN's secrets: made once, kept in its state directory with mode 0600.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { SERVICE_TOKENS } from '../layout.ts';

export interface ServiceSecrets {
  readonly tokens: Readonly<Record<string, string>>;
  readonly tokenHashes: Readonly<Record<string, string>>; // base64url SHA-256, what a callee is told
}

export function tokenFile(stateDir: string, name: string): string {
  return path.join(stateDir, 'tokens', `${name}.token`);
}

export function loadOrMakeServiceTokens(stateDir: string): ServiceSecrets {
  mkdirSync(path.join(stateDir, 'tokens'), { recursive: true, mode: 0o700 });
  const tokens: Record<string, string> = {};
  const tokenHashes: Record<string, string> = {};
  for (const { name } of SERVICE_TOKENS) {
    const file = tokenFile(stateDir, name);
    if (!existsSync(file)) writeSecret(file, randomBytes(32).toString('base64url'));
    const token = readFileSync(file, 'utf8').trim();
    tokens[name] = token;
    tokenHashes[name] = createHash('sha256').update(token).digest('base64url');
  }
  return { tokens, tokenHashes };
}

export function writeSecret(file: string, text: string): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, `${text}\n`, { mode: 0o600 });
}
