/**
 * Commands of this folder: `nightfill control-plane` (the daemon) and `nightfill keys` (the trust anchor).
 */
import type { Command } from 'commander';
import { initKeyFiles } from './io/key-files.ts';

export function addCommands(program: Command): void {
  const keys = program.command('keys').description('make the keys that a CDN trusts');
  keys
    .command('init')
    .argument('<dir>', 'where to write them; nothing there is overwritten')
    .description('make a root key, and the online keys that it signs')
    .action(async (directory: string) => {
      const set = await initKeyFiles(directory, Date.now());
      console.log(`keys made in ${directory}`);
      console.log(`root fingerprint: ${set.rootFingerprint}`);
      console.log('move root.jwk off this machine: nothing that runs needs it');
    });
}
