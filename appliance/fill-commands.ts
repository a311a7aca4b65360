/**
 * `nightfill appliance fill` and `nightfill fill plan`: what the fill of one box does, on whose terms, and what tonight would bring.
 */
import type { Command } from 'commander';
import { DAY_MS, formatBps, formatBytes, formatDuration } from '#base/units.ts';
import type { FillCurve, FillStatus } from './contract.ts';
import type { ApplianceConfig } from './config.ts';
import type { Amount, FillPreview } from './fill/fill-preview.ts';

const CALL_MS_MAX = 30_000;

type ConfigOf = (options: { readonly config?: string }) => ApplianceConfig;
/** `POST path` on the admin listener of the box; throws for the operator where nobody answers. */
type Call = (config: ApplianceConfig, path: string, deadlineMs: number) => Promise<unknown>;

interface FillOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly pause?: boolean;
  readonly resume?: boolean;
  readonly watch?: boolean;
}

export function addFillCommands(
  program: Command,
  appliance: Command,
  configOf: ConfigOf,
  call: Call,
): void {
  appliance
    .command('fill')
    .description('how far the fill is, from where it comes, what the budget leaves')
    .option('--pause', 'stop fetching at once; remembered over restarts')
    .option('--resume', 'go on')
    .option('--watch', 'show it again each second')
    .option('--json', 'the status message as it is')
    .action(async (_: FillOptions, command: Command) => {
      const options: FillOptions = command.optsWithGlobals();
      if (options.pause === true && options.resume === true) {
        throw new Error('--pause and --resume: which of them?');
      }
      const change =
        options.pause === true ? '?pause=1' : options.resume === true ? '?pause=0' : '';
      const config = configOf(options);
      for (let path = `/fill${change}`; ; path = '/fill') {
        const found = (await call(config, path, CALL_MS_MAX)) as FillStatus;
        const text =
          options.json === true
            ? JSON.stringify(found)
            : fillText(config.applianceId, found, Date.now());
        console.log(text);
        if (options.watch !== true) return;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    });
  program
    .command('fill')
    .description('the fill of one box')
    .command('plan')
    .description('a dry run: what tonight would fetch and delete, from where, and whether it fits')
    .requiredOption('--config <file>', 'of the box')
    .option('--json', 'the answer as it is')
    .action(async (options: FillOptions) => {
      const config = configOf(options);
      const found = (await call(config, '/fill/plan', CALL_MS_MAX)) as FillPreview;
      console.log(
        options.json === true
          ? JSON.stringify(found)
          : previewText(config.applianceId, found, Date.now()),
      );
    });
}

const WAITS: Readonly<Record<string, string>> = {
  window: 'its fill window',
  manifest: 'a manifest',
  source: 'a source that has the files',
  space: 'space on its disks',
  turn: 'another box that fetches them first',
  pause: 'its operator: it is paused (nightfill appliance fill --resume)',
  budget: 'its operator’s caps',
  load: 'viewers to need less',
};

const FROM_WORDS = { peer: 'its site', tier: 'other sites', origin: 'the origin' } as const;

export function fillText(applianceId: string, found: FillStatus, nowMs: number): string {
  const { budget, window } = found;
  const isDone = found.filesHeld >= found.filesWanted;
  const share = found.bytesWanted === 0 ? 1 : found.bytesHeld / found.bytesWanted;
  const eta = isDone ? 'complete' : etaText(found);
  const kinds = found.byKind.map(({ kind, bytes, bps }) => {
    const now = bps > 0 ? `, now ${formatBps(bps)}` : '';
    return `${FROM_WORDS[kind]} ${formatBytes(bytes)}${now}`;
  });
  return [
    found.manifestVersion === 0
      ? `${applianceId}: nothing planned yet`
      : `${applianceId}: ${found.turnUp === 'filling' ? 'being turned up' : 'turned up'}, holds ${percent(found.demandShare)} of its planned demand`,
    ...(found.manifestVersion === 0
      ? ['fill      no manifest yet: it waits for its plan']
      : [
          `fill      manifest ${found.manifestVersion}: ${found.filesHeld} of ${found.filesWanted} files, ${formatBytes(found.bytesHeld)} of ${formatBytes(found.bytesWanted)} (${percent(share)}), ${found.active} under way`,
          `          ${eta}`,
        ]),
    ...(found.problem === null ? [] : [`  ! ${found.problem}`]),
    `from      ${kinds.join('; ')} (since the start)`,
    ...(found.isAlone
      ? ['  ! nobody ranks sources: the control plane is gone; neighbours are asked directly']
      : []),
    ...found.leftOut.map(
      ({ id, baseUrl, why, forMs, corruptChunks }) =>
        `  ! ${id} (${baseUrl}) is left out for ${formatDuration(forMs)}: ${why === 'bad-bytes' ? `${corruptChunks} chunks did not match their hash` : 'most calls failed'}`,
    ),
    ...(found.curve === undefined ? [] : [`ahead     ${curveText(found.curve)}`]),
    `window    ${windowText(window, nowMs)}`,
    `budget    ${limitText('beyond the site', budget.limits.far)}; ${limitText('within it', budget.limits.near)}${budget.yieldShare < 1 ? `; gives way to viewers: ${percent(budget.yieldShare)} of full speed` : ''}`,
    ...(budget.isPaused
      ? [`          paused for ${formatDuration(nowMs - (budget.pausedSinceMs ?? nowMs))}`]
      : []),
    ...(budget.month === null
      ? []
      : [
          `month     95th percentile ${formatBps(budget.month.billedBps)} of ${formatBps(budget.month.bpsMax)}, ${budget.month.burstsUsed} of ${budget.month.burstsForgiven} samples above it, ends in ${formatDuration(budget.month.endMs - nowMs)}`,
        ]),
  ].join('\n');
}

function etaText({ budget, waitingFor, etaMs, active }: FillStatus): string {
  if (budget.isPaused) return `waits for ${WAITS['pause']}`;
  if (waitingFor !== null) return `waits for ${WAITS[waitingFor] ?? waitingFor}`;
  if (etaMs !== null) return `${formatDuration(etaMs)} left at this rate`;
  return active > 0 ? 'nothing came in the last seconds' : 'nothing moves';
}

export function previewText(applianceId: string, found: FillPreview, nowMs: number): string {
  const { from } = found;
  const line = (what: string, amount: Amount): string =>
    `  ${what.padEnd(22)} ${String(amount.files).padStart(7)} files  ${formatBytes(amount.bytes)}`;
  const fits =
    found.fits === null
      ? uncomparedText(found)
      : found.fits
        ? `fits: the caps let ${formatBytes(found.allowanceBytes ?? 0)} through before the window closes`
        : `does not fit: ${formatBytes(found.beyondSiteBytes)} from beyond the site, the caps let ${formatBytes(found.allowanceBytes ?? 0)} through before the window closes`;
  return [
    `${applianceId}, manifest ${found.manifestVersion}: a dry run, nothing is fetched`,
    line('wanted', found.wanted),
    line('held', found.held),
    line('to fetch', found.toFetch),
    line('  from its site', from.peer),
    line('  from other sites', from.tier),
    line('  from the origin', from.origin),
    ...(from.nobody.files === 0 ? [] : [line('  nobody has them', from.nobody)]),
    ...(found.notAskedAbout.files === 0 ? [] : [line('  not asked about', found.notAskedAbout)]),
    line('may leave, for room', found.leaving),
    ...(found.curve === null ? [] : [`ahead   ${curveText(found.curve)}`]),
    `window  ${windowText(found.window, nowMs)}`,
    `budget  ${fits}`,
  ].join('\n');
}

/** Why it cannot be said whether tonight's fill fits. */
function uncomparedText({ isCapped, window }: FillPreview): string {
  if (!isCapped) return 'no caps in some hours: the links and viewers set the pace';
  return window.open
    ? 'the window has no end to compare with'
    : 'the window is closed: what its caps let through is known when it opens';
}

/** What the box could serve of its planned demand, if it goes on as it does. */
function curveText({ day1, day3, day7, fullAfterDays }: FillCurve): string {
  const shares = [
    [1, day1],
    [3, day3],
    [7, day7],
  ] as const;
  const before = shares.filter(([days]) => days < fullAfterDays);
  const steps = before.map(([days, share]) => `day ${days} ${percent(share)}`);
  const full = formatDuration(fullAfterDays * DAY_MS);
  return [...steps, `full after ${full}`].join(', ') + ' at the speed so far';
}

function windowText(window: FillStatus['window'], nowMs: number): string {
  if (window.open) {
    return window.closesAtMs === null
      ? 'open at any time'
      : `open, closes in ${formatDuration(Math.max(0, window.closesAtMs - nowMs))}`;
  }
  return window.opensAtMs === null
    ? 'closed; when it opens was not told yet'
    : `closed, opens in ${formatDuration(Math.max(0, window.opensAtMs - nowMs))}`;
}

const LIMITED_WORDS: Readonly<Record<string, string>> = {
  pause: 'paused',
  load: 'viewers need the rest',
  hour: 'cap of this hour',
  month: 'ceiling of the month',
  rate: 'rateBpsMax',
};

function limitText(
  where: string,
  { bps, why, limitedBy }: FillStatus['budget']['limits']['far'],
): string {
  if (bps === null) return `no limit ${where}`;
  const by = LIMITED_WORDS[limitedBy ?? ''] ?? why ?? 'held';
  return bps === 0 ? `nothing ${where} (${by})` : `${formatBps(bps)} ${where} (${by})`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
