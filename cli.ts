/**
 * `nightfill <command>`: finds the command's folder and starts its main.ts. Nothing else lives here.
 *
 * Each main.ts exports `addCommands(program)`. Only the folder that owns the command is loaded, so that a
 * small command starts fast; help loads them all.
 */
import { Command } from 'commander';
import { ConfigProblem } from '#base/config.ts';
import { messageOf } from '#base/outcome.ts';
import packageJson from './package.json' with { type: 'json' };

type AddCommands = (program: Command) => void;

const OWNERS: readonly { commands: readonly string[]; load: () => Promise<AddCommands> }[] = [
  {
    commands: ['up'],
    load: async () => (await import('./deploy/one-machine/main.ts')).addCommands,
  },
  {
    commands: ['publish', 'origin', 'playback'],
    load: async () => (await import('./upstream/main.ts')).addCommands,
  },
  {
    commands: [
      'control-plane',
      'keys',
      'site',
      'takedown',
      'manifest',
      'inventory',
      'records',
      'externals',
    ],
    load: async () => (await import('./control-plane/main.ts')).addCommands,
  },
  {
    commands: ['appliance'],
    load: async () => {
      const { addCommands } = await import('./appliance/main.ts');
      const { addApplianceCommands } = await import('./control-plane/main.ts');
      return (program) => {
        addCommands(program);
        addApplianceCommands(program); // what the fleet's operator does to a box, beside what the box's does
      };
    },
  },
  {
    commands: ['steering', 'explain', 'prefixes'],
    load: async () => (await import('./steering/main.ts')).addCommands,
  },
  {
    commands: ['plan', 'forecast', 'simulate'],
    load: async () => (await import('./fill-planner/main.ts')).addCommands,
  },
];

const program = new Command('nightfill')
  .description(packageJson.description)
  .version(packageJson.version)
  .showHelpAfterError('(--help lists what there is)');

const wanted = process.argv[2];
const owner = OWNERS.find(({ commands }) => commands.includes(wanted));
for (const { load } of owner === undefined ? OWNERS : [owner]) (await load())(program);

try {
  await program.parseAsync();
} catch (thrown) {
  // A refused configuration is the operator's to mend: the list of problems is the message, a stack is noise.
  const isForTheUser = thrown instanceof ConfigProblem || process.env['NIGHTFILL_STACK'] !== '1';
  console.error(isForTheUser ? `nightfill: ${messageOf(thrown)}` : thrown);
  process.exit(1); // what had half started must not keep the process
}
