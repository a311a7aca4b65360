/**
 * The command line of a daemon: `nightfill <name> --config FILE [--check-config]`, the same for every one of them.
 *
 * Errors: a ConfigProblem, with every problem of the file at once
 */
import type { Command } from 'commander';
import type { Static, TSchema } from 'typebox';
import { readConfigFile } from '../config.ts';

export interface DaemonCommand<S extends TSchema> {
  readonly name: string;
  readonly description: string;
  /** Where each field is described, for the help text. */
  readonly schemaFile: string;
  readonly schema: S;
  readonly relations: (config: Static<S>) => readonly string[];
  /** Runs until it is stopped. */
  readonly run: (config: Static<S>) => Promise<void>;
}

export function addDaemonCommand<S extends TSchema>(
  program: Command,
  { name, description, schemaFile, schema, relations, run }: DaemonCommand<S>,
): Command {
  return program
    .command(name)
    .description(description)
    .requiredOption('--config <file>', `JSON; ${schemaFile} describes each field`)
    .option('--check-config', 'check the configuration, and stop there')
    .action(async (options: { readonly config: string; readonly checkConfig?: true }) => {
      const config = readConfigFile(schema, options.config, relations);
      if (options.checkConfig === true) {
        console.log(`${options.config} is valid`);
        return;
      }
      await run(config);
    });
}
