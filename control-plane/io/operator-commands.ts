/**
 * What an operator types: `nightfill takedown`, `nightfill appliance revoke`. Each is a call to a running control plane.
 */
import type { Command } from 'commander';
import { sleep, systemClock } from '#base/clock.ts';
import { DAY_MS } from '#base/units.ts';
import type { DenialKind } from '../contract.ts';
import { denialLine, denialLines } from '../denial-report.ts';
import type { DenialView } from '../denials.ts';
import type { InventoryAnswer } from './inventory-routes.ts';
import type { ManifestDifference } from './manifests.ts';
import type { DayRecords } from './records-export.ts';
import { addEnrolmentCommands } from './fleet-commands.ts';
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

export function addManifestCommands(program: Command): void {
  const manifest = program.command('manifest').description('what boxes were told to hold');
  withOperatorOptions(manifest.command('history'))
    .argument('<appliance>')
    .description('the versions that are remembered, newest first')
    .action(async (id: string, options: OperatorOptions) => {
      const answer = await new OperatorClient(options).call(
        'GET',
        `/v1/appliances/${id}/manifests`,
      );
      const { versions } = answer as { versions: readonly HistoryLine[] };
      for (const { version, planDate, run, entries, bodyBytes, madeAtMs } of versions) {
        console.log(
          `${version}  ${new Date(madeAtMs).toISOString()}  plan of ${planDate}, run ${run}: ${entries} files, ${bodyBytes} bytes on the wire`,
        );
      }
    });
  withOperatorOptions(manifest.command('diff'))
    .argument('<appliance>')
    .argument('<from>', 'a version')
    .argument('<to>', 'a version')
    .description('files that come and go from one version to another')
    .action(async (id: string, from: string, to: string, options: OperatorOptions) => {
      const route = `/v1/appliances/${id}/manifests/diff?from=${from}&to=${to}`;
      const difference = (await new OperatorClient(options).call(
        'GET',
        route,
      )) as ManifestDifference;
      const { added, removed, kept } = difference;
      console.log(
        `version ${from} -> ${to}: ${added.files} files (${added.bytes} bytes) come, ${removed.files} (${removed.bytes} bytes) go, ${kept} stay`,
      );
      for (const { fileId, sizeBytes, titles } of added.shown) {
        console.log(`+ ${fileId} ${sizeBytes} ${titles.join(',')}`);
      }
      for (const { fileId, sizeBytes, titles } of removed.shown) {
        console.log(`- ${fileId} ${sizeBytes} ${titles.join(',')}`);
      }
    });
  withOperatorOptions(program.command('inventory'))
    .argument('<appliance>')
    .option('--json', 'the whole answer')
    .description('what a box holds against its manifest, file by file')
    .action(async (id: string, options: OperatorOptions & { readonly json?: true }) => {
      const answer = await new OperatorClient(options).call(
        'GET',
        `/v1/appliances/${id}/inventory`,
      );
      if (options.json === true) console.log(JSON.stringify(answer, null, 2));
      else printInventory(answer as InventoryAnswer);
    });
}

export function addRecords(program: Command): void {
  const records = program.command('records').description('what was watched, day by day');
  withOperatorOptions(records.command('export'))
    .argument('<directory>', 'where day=YYYY-MM-DD/demand.parquet and quarters.parquet are written')
    .requiredOption('--from <date>', 'first UTC day')
    .option('--to <date>', 'last UTC day (default: the first)')
    .description('writes whole days as Parquet, for DuckDB and whatever else reads it')
    .action(async (directory: string, options: OperatorOptions & RecordsOptions) => {
      const { exportDays } = await import('./records-export.ts');
      const client = new OperatorClient(options);
      const last = Date.parse(options.to ?? options.from);
      if (!(Date.parse(options.from) <= last))
        throw new Error('--from and --to are no days in order');
      for (let atMs = Date.parse(options.from); atMs <= last; atMs += DAY_MS) {
        const day = new Date(atMs).toISOString().slice(0, 10);
        const answer = (await client.call('GET', `/v1/records?day=${day}`)) as DayRecords;
        const [written] = await exportDays(directory, [answer]);
        console.log(
          `${written}: ${answer.files.length} files by home, ${answer.quarters.length} quarters`,
        );
      }
    });
}

interface RecordsOptions {
  readonly from: string;
  readonly to?: string;
}

interface HistoryLine {
  readonly version: number;
  readonly planDate: string;
  readonly run: string;
  readonly entries: number;
  readonly bodyBytes: number;
  readonly madeAtMs: number;
}

function printInventory(inventory: InventoryAnswer): void {
  const { applianceId, manifestVersion, versionInUse, wanted, held, heldShare } = inventory;
  console.log(
    `${applianceId}: ${(100 * heldShare).toFixed(1)} % of manifest ${manifestVersion} (${held.files} of ${wanted.files} files, ` +
      `${held.bytes} of ${wanted.bytes} bytes); the box uses version ${versionInUse}` +
      (inventory.problem === null ? '' : `; it says: ${inventory.problem}`),
  );
  for (const [name, side] of [
    ['missing', inventory.missing],
    ['extra', inventory.extra],
  ] as const) {
    console.log(`${name}: ${side.files} files, ${side.bytes} bytes`);
    for (const { fileId, sizeBytes, titles } of side.shown) {
      console.log(`  ${fileId} ${sizeBytes} ${titles.join(',')}`);
    }
  }
}

export function addApplianceCommands(program: Command): void {
  const appliance = program.commands.find((command) => command.name() === 'appliance');
  if (appliance === undefined) return;
  addEnrolmentCommands(appliance);
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
