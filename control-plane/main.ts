/**
 * Commands of this folder: `nightfill control-plane` (the daemon), `nightfill keys` (the trust anchor), and an operator's calls.
 */
import type { Command } from 'commander';
import { systemClock } from '#base/clock.ts';
import { addDaemonCommand } from '#base/io/daemon-command.ts';
import { runDaemon } from '#base/io/daemon.ts';
import { createLogger } from '#base/log.ts';
import { configRelations, ControlPlaneConfigSchema, type ControlPlaneConfig } from './config.ts';
import { addExternals } from './io/external-commands.ts';
import { addSiteCommands } from './io/fleet-commands.ts';
import { initKeyFiles } from './io/key-files.ts';
import {
  addApplianceCommands,
  addManifestCommands,
  addRecords,
  addTakedown,
} from './io/operator-commands.ts';

export { addApplianceCommands };

export function addCommands(program: Command): void {
  addDaemonCommand(program, {
    name: 'control-plane',
    description: 'registry, health, manifests, fleet snapshots, and the two pages',
    schemaFile: 'control-plane/config.ts',
    schema: ControlPlaneConfigSchema,
    relations: configRelations,
    run: runControlPlane,
  });

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
  addSiteCommands(program);
  addTakedown(program);
  addManifestCommands(program);
  addRecords(program);
  addExternals(program);
}

async function runControlPlane(config: ControlPlaneConfig): Promise<void> {
  const log = createLogger('control-plane', config.logLevel);
  await runDaemon(log, async () => {
    const { createControlPlane } = await import('./io/service.ts');
    const controlPlane = await createControlPlane(config, systemClock, log);
    const { address, port } = await controlPlane.start();
    return {
      ready: { address, port, publicUrl: config.publicUrl },
      stop: () => controlPlane.stop(),
    };
  });
}
