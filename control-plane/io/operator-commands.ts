/**
 * What an operator types: `nightfill takedown`, `nightfill appliance revoke`. Each is a call to a running control plane.
 */
import type { Command } from 'commander';
import { sleep, systemClock } from '#base/clock.ts';
import type { DenialKind } from '../contract.ts';
import { denialLine, denialLines } from '../denial-report.ts';
import type { DenialView } from '../denials.ts';
import { OperatorClient, withOperatorOptions, type OperatorOptions } from './operator-client.ts';

const WATCH_MS = 10_000; // a takedown takes a second or two; what is slower is shown as it stands
const WATCH_STEP_MS = 250;

interface TakedownOptions extends OperatorOptions {
  readonly reason?: string;
  readonly kind: string;
  readonly list?: true;
  readonly lift?: string;
  readonly show?: string;
  readonly wait: boolean;
  readonly json?: true;
}

export function addTakedown(program: Command): void {
  withOperatorOptions(program.command('takedown'))
    .argument('[value]', 'title, file, key id or issuer')
    .description('stops serving something on every box within seconds, then deletes it, with proof')
    .option('--reason <text>', 'kept with it, and in the audit log')
    .option('--kind <kind>', 'title, file, key or issuer', 'title')
    .option('--list', 'what is denied, and how far the boxes are')
    .option('--show <id>', 'one denial, box by box')
    .option('--lift <id>', 'allows it again')
    .option('--no-wait', 'do not watch the boxes')
    .option('--json', 'the whole answer, with each box’s signed proof')
    .action(takedown);
}

export function addApplianceCommands(program: Command): void {
  const appliance = program.commands.find((command) => command.name() === 'appliance');
  if (appliance === undefined) return;
  withOperatorOptions(appliance.command('revoke'))
    .argument('<id>', 'of the appliance')
    .requiredOption('--reason <text>', 'kept with it, and in the audit log')
    .description('a stolen or broken-into box: no source, no token, no viewer for it any more')
    .action(async (id: string, options: OperatorOptions & { readonly reason: string }) => {
      const client = new OperatorClient(options);
      await showDenial(client, await deny(client, 'appliance', id, options.reason), true);
    });
  withOperatorOptions(appliance.command('allow'))
    .argument('<id>', 'of the appliance')
    .description('takes a revocation back')
    .action(async (id: string, options: OperatorOptions) => {
      const client = new OperatorClient(options);
      const known = (await denials(client)).find(
        ({ kind, value, liftedAtMs }) =>
          kind === 'appliance' && value === id && liftedAtMs === null,
      );
      if (known === undefined) throw new Error(`appliance ${id} is not revoked`);
      await client.call('DELETE', `/v1/denials/${known.id}`);
      console.log(`${id} is allowed again: it connects by itself within seconds`);
    });
}

async function takedown(value: string | undefined, options: TakedownOptions): Promise<void> {
  const client = new OperatorClient(options);
  if (options.list === true) {
    for (const denial of await denials(client)) console.log(denialLine(denial));
    return;
  }
  if (options.lift !== undefined) {
    const lifted = (await client.call('DELETE', `/v1/denials/${options.lift}`)) as DenialView;
    console.log(denialLine(lifted));
    return;
  }
  if (options.show !== undefined) {
    const shown = (await client.call('GET', `/v1/denials/${options.show}`)) as DenialView;
    print(shown, options.json === true);
    return;
  }
  if (value === undefined || options.reason === undefined) {
    throw new Error(
      'takedown needs what to take down and --reason, or --list, --show ID, --lift ID',
    );
  }
  const denied = await deny(client, options.kind as DenialKind, value, options.reason);
  await showDenial(client, denied, options.wait, options.json === true);
}

async function showDenial(
  client: OperatorClient,
  first: DenialView,
  isWatched: boolean,
  asJson = false,
): Promise<void> {
  let denial = first;
  const deletes = denial.kind === 'title' || denial.kind === 'file';
  const untilMs = systemClock.monotonicMs() + WATCH_MS;
  const isOpen = ({ summary }: DenialView): boolean =>
    summary.waiting > 0 || (deletes && summary.acknowledged > 0);
  while (isWatched && isOpen(denial) && systemClock.monotonicMs() < untilMs) {
    await sleep(systemClock, WATCH_STEP_MS);
    denial = (await client.call('GET', `/v1/denials/${denial.id}`)) as DenialView;
  }
  print(denial, asJson);
}

function print(denial: DenialView, asJson: boolean): void {
  console.log(asJson ? JSON.stringify(denial, null, 2) : denialLines(denial).join('\n'));
}

async function deny(
  client: OperatorClient,
  kind: DenialKind,
  value: string,
  reason: string,
): Promise<DenialView> {
  return (await client.call('POST', '/v1/denials', { kind, value, reason })) as DenialView;
}

async function denials(client: OperatorClient): Promise<readonly DenialView[]> {
  return ((await client.call('GET', '/v1/denials')) as { denials: DenialView[] }).denials;
}
