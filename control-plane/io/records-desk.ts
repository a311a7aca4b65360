/**
 * Demand records by the day: asked for by a tool, and kept as Parquet under the state directory once a day is over.
 *
 * Boxes may be away for days and hand in late: the last KEPT_ANEW_DAYS days are written again each day.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { messageOf } from '#base/outcome.ts';
import { DAY_MS } from '#base/units.ts';
import { utcDateOf } from '../fill-window.ts';
import type { Plane, Server } from './plane.ts';
import { exportDays, type DayRecords } from './records-export.ts';

const KEPT_ANEW_DAYS = 3;

export function recordsOfDay({ catalogue, demand }: Plane, day: string): DayRecords {
  return {
    day,
    files: demand.dayOf(day).map(({ ordinal, home, bytes, starts }) => {
      const fileId = catalogue.fileIdOf(ordinal) ?? '';
      return { fileId, titleIds: catalogue.titlesOf(fileId).join(','), home, bytes, starts };
    }),
    quarters: demand.quartersOf(day),
  };
}

export function recordsRoutes(server: Server, plane: Plane): void {
  server.get(
    '/v1/records',
    {
      schema: {
        querystring: Type.Object(
          { day: Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' }) },
          { additionalProperties: false },
        ),
      },
      onRequest: (request: FastifyRequest, _reply: unknown, done: () => void) => {
        plane.authentication.serviceOfAny(request, ['operator', 'planner']);
        done();
      },
    },
    (request) => recordsOfDay(plane, request.query.day),
  );
}

/** Writes what is over; nothing here is needed by anybody who serves, so a failure is a line in the log. */
export class RecordsKeeper {
  readonly #plane: Plane;
  readonly #directory: string;
  #keptOn = '';
  #isWriting = false;

  constructor(plane: Plane) {
    this.#plane = plane;
    this.#directory = path.join(plane.config.stateDir, 'records');
  }

  /** Once a day, and at the first look after a start. */
  async look(): Promise<void> {
    const { clock, log } = this.#plane;
    const today = utcDateOf(clock.wallMs());
    if (this.#keptOn === today || this.#isWriting) return;
    this.#isWriting = true;
    try {
      for (let back = 1; back <= KEPT_ANEW_DAYS; back++) {
        const records = recordsOfDay(this.#plane, utcDateOf(clock.wallMs() - back * DAY_MS));
        const isThere = existsSync(path.join(this.#directory, `day=${records.day}`));
        if (records.files.length > 0 || isThere) await exportDays(this.#directory, [records]);
      }
      this.#keptOn = today;
    } catch (thrown) {
      log.error({ event: 'records-not-kept', why: messageOf(thrown) }, 'no Parquet was written');
    } finally {
      this.#isWriting = false;
    }
  }
}
