/**
 * Starts the planner as a child: each night by a schedule in UTC, or when an operator asks; and every quarter hour for what
 * trends within the day.
 *
 * Invariants: (1) one plan at a time; no look at trends begins while one is made, and none keeps a plan waiting
 *             (2) a night whose plan date was planned already starts nothing; an operator's order always does
 *             (3) a plan that fails, or takes too long, is an alarm that says what to do; the plans in use stay
 *             (4) a look at trends that fails is a warning: tonight's plan sees the same views
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { schedule, type ScheduledTask } from 'node-cron';
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { SECOND_MS } from '#base/units.ts';
import type { ControlPlaneConfig } from '../config.ts';
import { utcDateOf } from '../fill-window.ts';
import type { Alarms } from './alarms.ts';

const LINE_MAX = 2000; // of the child's output, per line
const LINES_MAX = 10_000; // per run; beyond it the output is not logged
const LAST_LINES = 3; // quoted in the alarm
/** The planner's word for a plan that is good but gives up too much offload: a person must say yes. */
const HELD_STATUS = 3;
const KILL_AFTER_MS = 2000; // between asking the child to stop and ending it

export type PlanningState =
  | { readonly name: 'idle' }
  | { readonly name: 'running'; readonly planDate: string; readonly startedAtMs: number }
  | {
      readonly name: 'ended';
      readonly planDate: string;
      readonly endedAtMs: number;
      readonly ok: boolean;
      readonly detail: string;
    };

export type PlanningStart = 'started' | 'running-already' | 'no-command' | 'planned-already';

export class PlanningRuns {
  readonly #config: ControlPlaneConfig['planning'];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #alarms: Alarms;
  readonly #latestPlanDate: () => string | null;
  #state: PlanningState = { name: 'idle' };
  readonly #children = new Set<ChildProcess>();
  #isTrending = false;
  #ended: Promise<unknown> = Promise.resolve();
  readonly #tasks: ScheduledTask[] = [];
  #stopping = false;

  constructor(
    config: ControlPlaneConfig['planning'],
    clock: Clock,
    log: Logger,
    alarms: Alarms,
    latestPlanDate: () => string | null,
  ) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
    this.#alarms = alarms;
    this.#latestPlanDate = latestPlanDate;
  }

  get state(): PlanningState {
    return this.#state;
  }

  start(): void {
    const { planCommand, cronUtc, trendCommand, trendCronUtc } = this.#config;
    const inUtc = { timezone: 'UTC' } as const;
    if (planCommand.length > 0)
      this.#tasks.push(schedule(cronUtc, () => void this.nightly(), inUtc));
    if (trendCommand.length > 0) {
      this.#tasks.push(schedule(trendCronUtc, () => void this.trend(), inUtc));
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const task of this.#tasks.splice(0)) await task.destroy();
    for (const child of this.#children) this.#endChild(child);
    await this.#ended;
  }

  nightly(): PlanningStart {
    const planDate = utcDateOf(this.#clock.wallMs());
    if (this.#latestPlanDate() === planDate) {
      this.#log.info({ planDate }, 'this night is planned already');
      return 'planned-already';
    }
    return this.run('the nightly schedule');
  }

  run(why: string): PlanningStart {
    const [program, ...parameters] = this.#config.planCommand;
    if (program === undefined) return 'no-command';
    if (this.#state.name === 'running' || this.#stopping) return 'running-already';
    const startedAtMs = this.#clock.wallMs();
    const planDate = utcDateOf(startedAtMs);
    this.#state = { name: 'running', planDate, startedAtMs };
    this.#log.info({ planDate, why, program }, 'planning starts');
    this.#ended = Promise.all([this.#ended, this.#follow(program, parameters, planDate)]);
    return 'started';
  }

  /** What is watched far more than forecast goes to the fast track, where the command hands it in. */
  async trend(): Promise<PlanningStart> {
    const [program, ...parameters] = this.#config.trendCommand;
    if (program === undefined) return 'no-command';
    if (this.#isTrending || this.#state.name === 'running' || this.#stopping) {
      return 'running-already';
    }
    this.#isTrending = true;
    const run = this.#runChild(program, parameters);
    this.#ended = Promise.all([this.#ended, run]);
    const { problem, lastLines } = await run;
    this.#isTrending = false;
    if (problem !== '' && !this.#stopping) {
      this.#log.warn({ problem, lastLines }, 'the look at trends failed; the next one is due soon');
    }
    return 'started';
  }

  async #follow(program: string, parameters: string[], planDate: string): Promise<void> {
    const { problem, lastLines } = await this.#runChild(program, parameters);
    this.#conclude(planDate, problem, lastLines);
  }

  /** `problem`: '' where the child ended with status 0. */
  async #runChild(
    program: string,
    parameters: string[],
  ): Promise<{ readonly problem: string; readonly lastLines: string }> {
    const child = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.add(child);
    const last: string[] = [];
    let lines = 0;
    const logLine = (line: string): void => {
      lines++;
      last.push(line.slice(0, LINE_MAX));
      if (last.length > LAST_LINES) last.shift();
      if (lines <= LINES_MAX) this.#log.info({ planner: line.slice(0, LINE_MAX) }, 'planner says');
    };
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', logLine);
    }
    const timeoutMs = this.#config.timeoutSeconds * SECOND_MS;
    let tookTooLong = false;
    const deadline = this.#clock.after(timeoutMs, () => {
      tookTooLong = true;
      this.#endChild(child);
    });
    const problem = await new Promise<string>((resolve) => {
      child.once('error', (thrown) => resolve(`could not be started: ${thrown.message}`));
      child.once('close', (code, signal) => {
        if (tookTooLong) resolve(`took longer than ${this.#config.timeoutSeconds} s`);
        else if (code === 0) resolve('');
        else resolve(signal === null ? `ended with status ${code}` : `was ended by ${signal}`);
      });
    });
    deadline.cancel();
    this.#children.delete(child);
    return { problem, lastLines: last.join(' | ') };
  }

  #conclude(planDate: string, problem: string, lastLines: string): void {
    const ok = problem === '';
    const detail = ok ? lastLines : `${problem}${lastLines === '' ? '' : `: ${lastLines}`}`;
    this.#state = { name: 'ended', planDate, endedAtMs: this.#clock.wallMs(), ok, detail };
    if (ok) {
      this.#log.info({ planDate }, 'planning ended');
      return;
    }
    if (this.#stopping) return;
    if (problem === `ended with status ${HELD_STATUS}`) {
      this.#alarms.raise(
        `the plan for ${planDate} waits for approval: ${lastLines}`,
        this.#config.planCommand.join(' '),
        'the last plan stays in use; look at it with "nightfill plan diff", then "nightfill plan approve RUN"',
      );
      return;
    }
    this.#alarms.raise(
      `the plan for ${planDate} was not made: the planner ${detail}`,
      this.#config.planCommand.join(' '),
      'the last plan stays in use; read the planner’s lines in this log, mend the cause, then POST /v1/plan-now',
    );
  }

  /** Asks the child to stop, and ends it a little later where it does not. */
  #endChild(child: ChildProcess): void {
    child.kill('SIGTERM');
    const killer: Timer = this.#clock.after(KILL_AFTER_MS, () => child.kill('SIGKILL'));
    child.once('close', () => killer.cancel());
  }
}
