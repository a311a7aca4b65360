/**
 * `nightfill plan`: reads one night's input, plans, shows what it means, signs and hands in. Composition only.
 */
import type { Command } from 'commander';
import { signCompact } from '#base/jws.ts';
import { JWS_TYPE } from '#control-plane/contract.ts';
import { planNight, planningOptions, summaryText, type PlanRefusal } from './fill-planner.ts';
import { controlPlaneClient } from './io/control-plane-client.ts';
import { dayOf } from './intake.ts';
import { readPlanKey, readToken } from './io/secrets.ts';
import { addCommands as addSimulateCommands } from './simulate/commands.ts';

interface PlanFlags {
  readonly controlPlane: string;
  readonly tokenFile: string;
  readonly keyFile: string;
  readonly date?: string;
  readonly dryRun?: boolean;
}

export function addCommands(program: Command): void {
  program
    .command('plan')
    .description('plan one night: which box should hold which file')
    .requiredOption('--control-plane <url>', 'where the input is read and the plans are handed in')
    .requiredOption('--token-file <file>', 'service token of role planner')
    .requiredOption('--key-file <file>', 'plan.jwk: the key that signs plans')
    .option('--date <YYYY-MM-DD>', 'UTC date of the plan (default: today)')
    .option('--dry-run', 'plan and show, hand nothing in')
    .action(plan);
  addSimulateCommands(program);
}

async function plan(flags: PlanFlags): Promise<void> {
  const planDate = flags.date ?? new Date().toISOString().slice(0, 10);
  if (Number.isNaN(dayOf(planDate))) {
    throw new Error(`--date ${planDate} is no day: a UTC date is written YYYY-MM-DD`);
  }
  const client = controlPlaneClient(flags.controlPlane, readToken(flags.tokenFile));
  const key = await readPlanKey(flags.keyFile);
  const input = await client.plannerInput(planDate);
  if (!input.ok) throw new Error(`cannot read the planner input: ${input.failure.detail}`);
  const outcome = planNight(input.value, planningOptions());
  if (!outcome.ok) throw new Error(refusalText(outcome.failure));
  const { planSet, summary } = outcome.value;
  console.log(summaryText(planSet.planDate, summary));
  if (flags.dryRun === true) {
    console.log('dry run: nothing was handed in');
    return;
  }
  const posted = await client.postPlans(await signCompact(key, JWS_TYPE.plan, planSet));
  if (!posted.ok) throw new Error(`the plans were not taken in: ${posted.failure.detail}`);
  console.log(`handed in: ${planSet.plans.length} plans of run ${planSet.run}`);
}

function refusalText(refusal: PlanRefusal): string {
  if (refusal.reason === 'input') return `the planner input cannot be planned: ${refusal.detail}`;
  return `the plan check refuses these plans, nothing was handed in:\n${refusal.refusals
    .map((line) => `  - ${line}`)
    .join('\n')}`;
}
