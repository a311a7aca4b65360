/**
 * `nightfill appliance`: the cache daemon of one box.
 */
import type { Command } from 'commander';
import { readConfigFile } from '#base/config.ts';
import { ApplianceConfigSchema, configProblems } from './config.ts';

export function addCommands(program: Command): void {
  program
    .command('appliance')
    .description('run the cache daemon of one box')
    .requiredOption('--config <file>', 'JSON, see appliance/config.ts')
    .option('--check-config', 'check the configuration and stop')
    .action((options: { config: string; checkConfig?: boolean }) => {
      const config = readConfigFile(ApplianceConfigSchema, options.config, configProblems);
      if (options.checkConfig === true)
        console.log(`${options.config}: ${config.applianceId}, valid`);
    });
}
