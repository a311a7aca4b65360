/**
 * `nightfill plan`: reads one night's input, plans, shows what it means, signs and hands in; and looks at plans afterwards.
 * Composition only.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { readTokenFile } from '#base/io/token-file.ts';
import { signCompact } from '#base/jws.ts';
import { messageOf, type Outcome } from '#base/outcome.ts';
import { JWS_TYPE } from '#control-plane/contract.ts';
import type { PlannerInput } from './contract.ts';
import { summaryText, type PlanRefusal } from './fill-planner.ts';
import { planningOptions } from './config.ts';
import { addCommands as addForecastCommands } from './forecast/commands.ts';
import { dayOf } from './intake.ts';
import { controlPlaneClient, type ControlPlaneClient } from './io/control-plane-client.ts';
import { planClusters, WORKERS_MAX } from './io/plan-pool.ts';
import { PlanStore } from './io/plan-store.ts';
import { readPlanKey } from './io/secrets.ts';
import { lookAtTrends } from './io/trend-command.ts';
import { gatherNight, planFamily, prepareNight, type PreparedNight } from './night.ts';
import { diffOf, diffText, mustBeHeld } from './report/diff.ts';
import { explain } from './report/explain.ts';
import { nightRecordOf, type NightRecord } from './report/record.ts';
import { cappedBoxes, capText, withoutCaps } from './report/fill-caps.ts';
import { siteText, type SiteSummary } from './report/summary.ts';
import { addCommands as addSimulateCommands } from './simulate/commands.ts';

const CAPS_SHOWN_MAX = 16; // each is a plan of its own
const HELD_STATUS = 3; // the plan is good, a person must say yes: not a failure of the run, and not done

interface SourceFlags {
  readonly controlPlane?: string;
  readonly tokenFile?: string;
  readonly input?: string;
  readonly date?: string;
  readonly state?: string;
}

interface PlanFlags extends SourceFlags {
  readonly keyFile?: string;
  readonly dryRun?: boolean;
  readonly site?: string;
  readonly workers: number;
  readonly holdPoints: number;
}

export function addCommands(program: Command): void {
  const plan = program
    .command('plan')
    .description('plan one night: which box should hold which file')
    .option('--control-plane <url>', 'where the input is read and the plans are handed in')
    .option('--token-file <file>', 'service token of role planner')
    .option('--key-file <file>', 'plan.jwk: the key that signs plans')
    .option('--input <file>', 'a planner input as JSON, instead of the control plane’s')
    .option('--date <YYYY-MM-DD>', 'UTC date of the plan (default: today)')
    .option('--dry-run', 'plan and show, hand nothing in')
    .option('--site <site>', 'plan and show one site only, hand nothing in')
    .option('--workers <n>', 'planning threads (0: as many as are worth it)', wholeNumber, 0)
    .option(
      '--hold-points <points>',
      'hold the plan for approval when it gives up more points of offload against the last night',
      nonNegative,
      5,
    )
    .option(
      '--state <dir>',
      'where nights are kept to compare with (default: $NIGHTFILL_STATE/plans, where nightfill up keeps them; without either none is kept)',
    )
    .action(planCommand);
  plan
    .command('explain <file> <site>')
    .description('why a file is, or is not, on the boxes of a site')
    .allowUnknownOption() // one file id in 64 begins with "-"; arguments in excess are still refused
    .action((file: string, site: string) => explainCommand(file, site, plan.opts()));
  plan
    .command('diff <before> <after>')
    .description('what changes between two kept nights, by plan date or run')
    .allowUnknownOption() // so may a run
    .action((before: string, after: string) => diffCommand(before, after, plan.opts()));
  plan
    .command('approve <run>')
    .description('hand in a plan that was held')
    .allowUnknownOption()
    .action((run: string) => approveCommand(run, plan.opts()));
  plan
    .command('trend')
    .description(
      'what is watched far more than forecast since the last look; run it every quarter hour',
    )
    .option('--hand-in', 'hand the files worth a fill before tonight to the fast track')
    .option('--json', 'one line of JSON on stdout')
    .action((own: { readonly handIn?: boolean; readonly json?: boolean }) =>
      trendCommand(plan.opts(), own),
    );
  addForecastCommands(program);
  addSimulateCommands(program);
}

async function planCommand(flags: PlanFlags): Promise<void> {
  const isShown = flags.dryRun === true || flags.site !== undefined;
  const planDate = planDateOf(flags);
  checkComplete(flags, isShown);
  const client = flags.controlPlane === undefined ? null : clientOf(flags);
  const key = isShown ? null : await readPlanKey(needed(flags.keyFile, '--key-file'));
  const given = await inputOf(flags, client, planDate);
  const night = unwrap(prepareNight(given, planningOptions()));
  if (flags.site !== undefined) {
    const clusters = new Set(clustersOfSite(night, flags.site));
    const families = night.families.filter((family) => family.some((c) => clusters.has(c)));
    for (const { summary, problems } of families.flatMap((f) => planFamily(night, f))) {
      if (summary.siteId !== flags.site) continue; // planned with it, shown by its own name
      const caps = capTexts(night.input, summary);
      console.log([siteText(summary), ...caps, ...problems.map((text) => `! ${text}`)].join('\n'));
    }
    return;
  }
  const planned = unwrap(
    gatherNight(night, await planClusters(given, night, flags.workers, progress)),
  );
  const { planSet, summary } = planned;
  console.log(summaryText(planSet.planDate, summary));
  if (key === null || client === null) {
    console.log('dry run: nothing was handed in');
    return;
  }
  const jws = await signCompact(key, JWS_TYPE.plan, planSet);
  const record = nightRecordOf(planSet, jws, summary, night.catalogue);
  const store = storeOf(flags);
  const before = store?.lastBefore(planSet.planDate) ?? null;
  if (before !== null && mustBeHeld(before, summary.plannedOffloadShare, flags.holdPoints)) {
    store?.save('held', record);
    console.log(diffText(diffOf(before, record)));
    console.log(
      `held for approval: more than ${flags.holdPoints} points of offload would be given up against ${before.planSet.planDate}; ` +
        `nothing was handed in. Look, then: nightfill plan approve ${planSet.run.slice(0, 12)}`,
    );
    process.exitCode = HELD_STATUS;
    return;
  }
  await handIn(client, record);
  store?.save('handed-in', record);
}

async function handIn(client: ControlPlaneClient, record: NightRecord): Promise<void> {
  const posted = await client.postPlans(record.jws);
  if (!posted.ok) throw new Error(`the plans were not taken in: ${posted.failure.detail}`);
  console.log(`handed in: ${record.planSet.plans.length} plans of run ${record.planSet.run}`);
}

async function explainCommand(fileId: string, site: string, flags: PlanFlags): Promise<void> {
  const client = flags.controlPlane === undefined ? null : clientOf(flags);
  const given = await inputOf(flags, client, planDateOf(flags));
  const night = unwrap(prepareNight(given, planningOptions()));
  for (const { clusterId, lines } of explain(night, clustersOfSite(night, site), fileId)) {
    console.log(
      [`file ${fileId} in cluster ${clusterId}`, ...lines.map((l) => `  ${l}`)].join('\n'),
    );
  }
}

function diffCommand(before: string, after: string, flags: PlanFlags): void {
  const store = openStore(flags);
  console.log(diffText(diffOf(store.find(before), store.find(after))));
}

async function approveCommand(run: string, flags: PlanFlags): Promise<void> {
  const store = openStore(flags);
  const record = store.find(run, ['held']);
  await handIn(clientOf(flags), record);
  store.save('handed-in', record);
  store.release(record);
}

async function trendCommand(
  flags: PlanFlags,
  own: { readonly handIn?: boolean; readonly json?: boolean },
): Promise<void> {
  const client = flags.controlPlane === undefined ? null : clientOf(flags);
  if (own.handIn === true) needed(flags.controlPlane, '--control-plane');
  const stateDir = neededStateDir(flags);
  await lookAtTrends({
    given: await inputOf(flags, client, planDateOf(flags)),
    stateDir,
    isJson: own.json === true,
    client: own.handIn === true ? client : null,
    unwrap,
  });
}

// ---------------------------------------------------------------- flags

function planDateOf(flags: SourceFlags): string {
  const planDate = flags.date ?? new Date().toISOString().slice(0, 10);
  if (Number.isNaN(dayOf(planDate))) {
    throw new Error(`--date ${planDate} is no day: a UTC date is written YYYY-MM-DD`);
  }
  return planDate;
}

/** All that is missing at once, and where it is found. */
function checkComplete(flags: PlanFlags, isShown: boolean): void {
  const missing = [
    ...(flags.controlPlane === undefined && (flags.input === undefined || !isShown)
      ? [isShown ? '--control-plane URL (or --input FILE)' : '--control-plane URL']
      : []),
    ...(flags.tokenFile === undefined && (flags.input === undefined || !isShown)
      ? ['--token-file FILE']
      : []),
    ...(flags.keyFile === undefined && !isShown ? ['--key-file FILE'] : []),
  ];
  if (missing.length === 0) return;
  throw new Error(
    `${missing.join(', ')} ${missing.length > 1 ? 'are' : 'is'} missing. With nightfill up they are the control plane’s address that it prints, ` +
      `STATE/tokens/planner.token and STATE/keys/plan.jwk. --dry-run needs no key and hands nothing in (nightfill plan --help)`,
  );
}

function clientOf(flags: SourceFlags): ControlPlaneClient {
  const url = needed(flags.controlPlane, '--control-plane');
  return controlPlaneClient(url, readTokenFile(needed(flags.tokenFile, '--token-file')));
}

async function inputOf(
  flags: SourceFlags,
  client: ControlPlaneClient | null,
  planDate: string,
): Promise<unknown> {
  if (flags.input !== undefined) {
    try {
      return JSON.parse(readFileSync(flags.input, 'utf8')) as unknown;
    } catch (thrown) {
      throw new Error(`cannot read --input: ${messageOf(thrown)}`, { cause: thrown });
    }
  }
  if (client === null) throw new Error('give --control-plane URL, or --input FILE');
  const input = await client.plannerInput(planDate);
  if (!input.ok) throw new Error(`cannot read the planner input: ${input.failure.detail}`);
  return input.value;
}

/** What each operator's cap on the fill costs: the cluster's family planned again without it. */
function capTexts(given: PlannerInput, capped: SiteSummary): readonly string[] {
  const boxes = cappedBoxes(given, capped.siteId);
  return boxes.slice(0, CAPS_SHOWN_MAX).flatMap((applianceId) => {
    const night = unwrap(prepareNight(withoutCaps(given, [applianceId]), planningOptions()));
    const isOfCluster = ({ clusterId }: { clusterId: string }): boolean =>
      clusterId === capped.clusterId;
    const family = night.families.find((clusters) => clusters.some(isOfCluster));
    const lifted = planFamily(night, family ?? []).find(({ summary }) => isOfCluster(summary));
    return lifted === undefined ? [] : [capText(applianceId, capped, lifted.summary)];
  });
}

function clustersOfSite(night: PreparedNight, site: string) {
  const clusters = night.clusters.filter((cluster) => cluster.siteId === site);
  if (clusters.length > 0) return clusters;
  const known = [...new Set(night.clusters.map((cluster) => cluster.siteId))];
  throw new Error(
    `no site ${site} with appliances: known are ${known.slice(0, 20).join(', ') || 'none'}`,
  );
}

function stateDirOf(flags: SourceFlags): string | null {
  const state = process.env['NIGHTFILL_STATE'];
  return flags.state ?? (state === undefined ? null : path.join(state, 'plans'));
}

function openStore(flags: SourceFlags): PlanStore {
  return new PlanStore(neededStateDir(flags));
}

function neededStateDir(flags: SourceFlags): string {
  const directory = stateDirOf(flags);
  if (directory !== null) return directory;
  throw new Error(
    '--state DIR is missing, and $NIGHTFILL_STATE is not set: where nights are kept. nightfill up keeps them in STATE/plans',
  );
}

/** A night is worth more than its record: where nothing can be kept, that is said and the plan goes out. */
function storeOf(flags: SourceFlags): PlanStore | null {
  if (stateDirOf(flags) === null) return null;
  try {
    return openStore(flags);
  } catch (thrown) {
    console.error(
      `nightfill plan: nights are not kept, so this one is compared with none: ${messageOf(thrown)}`,
    );
    return null;
  }
}

function progress(done: number, all: number): void {
  if (!process.stderr.isTTY) return;
  const width = 30;
  const full = Math.round((width * done) / all);
  const bar = `${'#'.repeat(full)}${'.'.repeat(width - full)}`;
  process.stderr.write(`\r[${bar}] ${done} of ${all} clusters${done === all ? '\n' : ''}`);
}

function needed(value: string | undefined, flag: string): string {
  if (value === undefined) throw new Error(`${flag} is missing (nightfill plan --help)`);
  return value;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > WORKERS_MAX) {
    throw new InvalidArgumentError(`a whole number from 0 to ${WORKERS_MAX}`);
  }
  return value;
}

function nonNegative(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('a number from 0');
  return value;
}

function unwrap<T>(outcome: Outcome<T, PlanRefusal>): T {
  if (outcome.ok) return outcome.value;
  const refusal = outcome.failure;
  if (refusal.reason === 'input') {
    throw new Error(`the planner input cannot be planned: ${refusal.detail}`);
  }
  const lines = refusal.refusals.map((line) => `  - ${line}`).join('\n');
  throw new Error(`the plan check refuses these plans, nothing was handed in:\n${lines}`);
}
