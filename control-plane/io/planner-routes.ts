/**
 * What the planner reads, what it hands in, and how an operator starts it.
 */
import { Type } from 'typebox';
import { openPlanSet, type PlannerInput } from '#fill-planner/contract.ts';
import { MIB } from '#base/units.ts';
import { utcDateOf } from '../fill-window.ts';
import { decidePlanSet } from '../plan-intake.ts';
import { plannerInput } from '../planner-input.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const PLAN_SET_BYTES_MAX = 256 * MIB; // an order of a million ordinals is about 20 MB
const PROBLEMS_LOGGED = 3;

export function plannerRoutes(server: Server, plane: Plane): void {
  const { authentication, clock, planning } = plane;

  server.get(
    '/v1/planner/input',
    {
      schema: {
        querystring: Type.Object(
          { planDate: Type.Optional(Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' })) },
          { additionalProperties: false },
        ),
      },
    },
    (request): PlannerInput => {
      authentication.service(request, 'planner');
      const planDate = request.query.planDate ?? utcDateOf(clock.wallMs());
      if (Number.isNaN(Date.parse(planDate))) {
        throw new HttpProblem(400, 'date-malformed', `planDate ${planDate} is no date`);
      }
      return plannerInput(
        {
          catalogue: plane.catalogue,
          denied: plane.denials.current,
          sites: plane.fleet.sites().map(({ site }) => site),
          boxes: plane.fleet.boxes(),
          demand: [...plane.demand.demand(planDate)],
        },
        planDate,
        clock.wallMs(),
      );
    },
  );

  server.post(
    '/v1/plans',
    {
      schema: {
        body: Type.Object({ planSet: Type.String() }, { additionalProperties: false }),
      },
      bodyLimit: PLAN_SET_BYTES_MAX,
      onRequest: (request, _reply, done) => {
        authentication.service(request, 'planner');
        done();
      },
    },
    async (request, reply) => {
      const who = authentication.service(request, 'planner');
      const answer = await takePlanSet(plane, request.body.planSet, who);
      return reply.code(answer.taken ? 201 : 200).send(answer);
    },
  );

  server.post('/v1/plan-now', (request, reply) => {
    const who = authentication.service(request, 'operator');
    const start = planning.run(`asked for by ${who}`);
    if (start === 'no-command') {
      throw new HttpProblem(
        409,
        'no-plan-command',
        'planning.planCommand is empty in the configuration: run "nightfill plan" yourself',
      );
    }
    if (start === 'running-already') {
      throw new HttpProblem(409, 'planning-runs', 'a plan is being made: wait for it to end');
    }
    plane.audit(who, 'plan asked for', utcDateOf(clock.wallMs()));
    return reply.code(202).send({ started: true, planning: planning.state });
  });

  server.get('/v1/rollout', (request) => {
    authentication.serviceOfAny(request, ['operator', 'planner']);
    return { rollout: plane.rollout.state };
  });

  server.get('/v1/plan-now', (request) => {
    authentication.service(request, 'operator');
    return { planning: planning.state };
  });
}

async function takePlanSet(
  plane: Plane,
  text: string,
  who: string,
): Promise<{ run: string; taken: boolean; appliances: number }> {
  const { alarms, catalogue, fleet, keys, log, plans } = plane;
  const opened = await openPlanSet(text, keys.ring);
  if (!opened.ok) {
    alarms.raise(
      `a plan set was refused: ${opened.failure}`,
      `posted by ${who}`,
      'the plans in use stay; check that the planner signs with plan.jwk of this CDN’s key directory',
    );
    throw new HttpProblem(403, 'plan-not-trusted', `the plan set is refused: ${opened.failure}`);
  }
  const set = opened.value;
  const intake = decidePlanSet(set, {
    epoch: catalogue.epoch,
    clusterOf: (applianceId) => fleet.box(applianceId)?.record.clusterId,
    hasOrdinal: (ordinal) => catalogue.fileIdOf(ordinal) !== undefined,
    contentKeyOfRun: (run) => plans.planSet(run)?.contentKey ?? null,
    latestPlanDate: plans.latest()?.planDate ?? null,
  });
  const appliances = set.plans.length;
  if (intake.verdict === 'same') return { run: set.run, taken: false, appliances };
  if (intake.verdict === 'refuse') {
    log.warn(
      { why: intake.why, problems: intake.problems.slice(0, PROBLEMS_LOGGED) },
      'plan set refused',
    );
    throw new HttpProblem(
      intake.why === 'plan-not-consistent' ? 422 : 409,
      intake.why,
      `the plan set of ${set.planDate} is refused whole, the plans in use stay: ${intake.problems.join('; ')}`,
    );
  }
  plane.rollout.take(set, intake.contentKey);
  log.info({ run: set.run, planDate: set.planDate, appliances }, 'plan set taken in');
  plane.audit(
    who,
    'plan set taken in',
    `${set.planDate}, run ${set.run}, ${appliances} appliances`,
  );
  return { run: set.run, taken: true, appliances };
}
