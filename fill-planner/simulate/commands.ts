/**
 * `nightfill simulate …`: what-if questions; each command beside what it runs.
 */
import type { Command } from 'commander';
import { addReportCommands } from '../report/simulation/commands.ts';
import { addCacheCommand } from './cache/cache-command.ts';
import { addRunCommands } from './run-command.ts';

export function addCommands(program: Command): void {
  const simulate = program.command('simulate').description('answers what-if questions');
  addRunCommands(simulate);
  addReportCommands(simulate);
  addCacheCommand(simulate);
}
