/**
 * Takes what boxes hear from routers, judges it by the policy, publishes what may steer, and alarms what may not.
 *
 *   POST /v1/routes -> route book --judge, at most each JUDGE_MS--> fleet's prefixes (a new epoch) -> steering
 *                                                             '--> alarms: quarantined, cluster members differ
 *
 * Tables are kept in `stateDir/routes/<applianceId>.json`: a restart moves no client.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Type } from 'typebox';
import { RouteSchema, type RouteBatch } from '#appliance/contract.ts';
import { parsePrefix, type Prefix } from '#base/address.ts';
import type { Clock, Timer } from '#base/clock.ts';
import { checker } from '#base/config.ts';
import type { Logger } from '#base/log.ts';
import { codeOf, messageOf } from '#base/outcome.ts';
import { MINUTE_MS, SECOND_MS } from '#base/units.ts';
import type { ControlPlaneConfig } from '../config.ts';
import type { ApplianceId } from '../contract.ts';
import type { Fleet } from '../fleet.ts';
import { DEFAULT_LENGTHS, type QuarantinedRoute, type RoutePolicy } from '../routes/policy.ts';
import { NO_ROAS, readRoas, type RoaTable } from '../routes/roa.ts';
import { RouteBook, type Owner, type RouteNews } from '../routes/route-book.ts';
import type { Alarms } from './alarms.ts';

const JUDGE_MS = 100; // a burst of posts is one judgement
const JUDGE_REST = 4; // a judgement that takes long leaves the process this many times as long to others
const KEEP_MS = 10 * SECOND_MS;
const ROA_READ_MS = 10 * MINUTE_MS;
const NAMED_MAX = 3; // prefixes in an alarm
const SHOWN_MAX = 1000;

const checkKept = checker(
  Type.Object({ routes: Type.Array(RouteSchema), accepted: Type.Array(Type.String()) }),
);

export interface RouteDeskDeps {
  readonly config: ControlPlaneConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly alarms: Alarms;
  readonly fleet: Fleet;
  readonly nextPrefixesVersion: () => number;
  readonly publish: () => void;
}

export class RouteDesk {
  readonly #deps: RouteDeskDeps;
  readonly #book = new RouteBook();
  readonly #directory: string;
  readonly #ownPrefixes: readonly Prefix[];
  readonly #keptSerial = new Map<ApplianceId, number>();
  readonly #timers: Timer[] = [];
  #judgeTimer: Timer | null = null;
  #judgedInMs = 0;
  #roas: RoaTable = NO_ROAS;
  #roasReadAtMs = -Infinity;

  constructor(deps: RouteDeskDeps) {
    this.#deps = deps;
    this.#directory = path.join(deps.config.stateDir, 'routes');
    this.#ownPrefixes = deps.config.routes.ownPrefixes.flatMap((text) => parsePrefix(text) ?? []);
  }

  /** Before the first snapshot is given: what was known stands. */
  start(): void {
    const { clock } = this.#deps;
    this.#restore();
    this.#readRoas();
    this.judge();
    this.#timers.push(
      clock.every(SECOND_MS, () => this.#tick()),
      clock.every(KEEP_MS, () => this.#keep()),
    );
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.#judgeTimer?.cancel();
    this.#keep();
  }

  take(
    applianceId: ApplianceId,
    batch: RouteBatch,
  ): { readonly version: number; readonly resync: boolean } {
    const { clock } = this.#deps;
    const { version, resync, isChanged } = this.#book.take(applianceId, batch, clock.monotonicMs());
    if (isChanged) this.judgeSoon();
    return { version, resync };
  }

  /** Sites, policies or boxes changed: everything is looked at anew. */
  judgeSoon(): void {
    const delayMs = Math.max(JUDGE_MS, this.#judgedInMs * JUDGE_REST);
    this.#judgeTimer ??= this.#deps.clock.after(delayMs, () => {
      this.#judgeTimer = null;
      const startMs = this.#deps.clock.monotonicMs();
      this.judge();
      this.#judgedInMs = this.#deps.clock.monotonicMs() - startMs;
    });
  }

  judge(): void {
    const { fleet, log, nextPrefixesVersion, publish } = this.#deps;
    const sites = fleet.sites().map(({ site }) => site);
    const news = this.#book.judge(
      (applianceId) => this.#ownerOf(applianceId),
      sites,
      this.#policy(),
    );
    this.#alarm(news);
    if (!news.isChanged) return;
    fleet.putLearned(this.#book.learned(), nextPrefixesVersion());
    publish();
    log.info(
      {
        event: 'prefixes',
        accepted: this.#book.accepted.length,
        quarantined: this.#book.quarantined.length,
      },
      'the prefixes that steer clients changed',
    );
  }

  get quarantined(): readonly QuarantinedRoute[] {
    return this.#book.quarantined;
  }

  /** For operators: sessions, what steers, what does not and why. */
  view(): unknown {
    const { accepted, quarantined } = this.#book;
    return {
      sessions: this.#book.sessions(),
      acceptedCount: accepted.length,
      accepted: accepted.slice(0, SHOWN_MAX),
      quarantinedCount: quarantined.length,
      quarantined: quarantined.slice(0, SHOWN_MAX),
    };
  }

  #ownerOf(applianceId: ApplianceId): Owner | null {
    const record = this.#deps.fleet.box(applianceId)?.record;
    return record === undefined ? null : { siteId: record.siteId, clusterId: record.clusterId };
  }

  #policy(): RoutePolicy {
    return { ...DEFAULT_LENGTHS, ownPrefixes: this.#ownPrefixes, roas: this.#roas };
  }

  #tick(): void {
    const { alarms, clock } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#roasReadAtMs >= ROA_READ_MS) this.#readRoas();
    if (this.#book.tick(nowMs)) this.judgeSoon();
    const owner = (applianceId: ApplianceId) => this.#ownerOf(applianceId);
    for (const { clusterId, applianceIds, prefixes } of this.#book.differences(owner, nowMs)) {
      alarms.raise(
        `boxes of cluster ${clusterId} hear different prefixes: ${prefixes.length} are not heard by all (${named(prefixes)})`,
        applianceIds.join(', '),
        'announce the same prefixes to every box of a cluster: compare the routers’ sessions and filters towards them',
        'prefixes-differ',
      );
    }
  }

  #alarm({ quarantined }: RouteNews): void {
    const groups = new Map<string, QuarantinedRoute[]>();
    for (const entry of quarantined) {
      const key = `${entry.applianceId} ${entry.why}`;
      groups.set(key, [...(groups.get(key) ?? []), entry]);
    }
    for (const entries of groups.values()) {
      const { applianceId, siteId, route, why, detail } = entries[0];
      const prefixes = entries.map((entry) => entry.route.prefix);
      this.#deps.alarms.raise(
        `${entries.length} routes at site ${siteId} are quarantined and steer nobody, ${why}: ${named(prefixes)}; ${detail}`,
        `${applianceId}, ${route.peer}`,
        'if the announcement is right, allow it in the site’s routes (originAs, prefixSet, mayAnnounceFor); else tell the ISP what its router leaks',
        'route-quarantined',
      );
    }
  }

  #readRoas(): void {
    const { clock, config, log } = this.#deps;
    this.#roasReadAtMs = clock.monotonicMs();
    const file = config.routes.roaFile;
    if (file === null) return;
    try {
      const { table, passedOver } = readRoas(readFileSync(file, 'utf8'));
      const isFirst = this.#roas === NO_ROAS;
      this.#roas = table;
      log.info({ event: 'roas', prefixes: table.size, passedOver }, 'ROAs read');
      if (!isFirst) this.judgeSoon();
    } catch (thrown) {
      // The last good ones stand: a route is not better because a file is away.
      log.error(
        { event: 'roas-unreadable', file, why: messageOf(thrown) },
        'the ROA file cannot be read',
      );
    }
  }

  #restore(): void {
    for (const name of this.#keptFiles()) {
      const applianceId = name.slice(0, -'.json'.length);
      const owner = this.#ownerOf(applianceId);
      const file = path.join(this.#directory, name);
      if (owner === null) {
        rmSync(file, { force: true });
        continue;
      }
      try {
        const kept = checkKept(JSON.parse(readFileSync(file, 'utf8')));
        if (kept.ok) this.#book.restore(applianceId, owner.siteId, kept.value);
        this.#keptSerial.set(applianceId, 1);
      } catch (thrown) {
        this.#deps.log.warn(
          { event: 'routes-unreadable', file, why: messageOf(thrown) },
          'a box’s routes cannot be read: it tells them again',
        );
      }
    }
  }

  #keptFiles(): readonly string[] {
    try {
      mkdirSync(this.#directory, { recursive: true });
      return readdirSync(this.#directory).filter((name) => name.endsWith('.json'));
    } catch (thrown) {
      this.#deps.log.error(
        { code: codeOf(thrown), directory: this.#directory },
        'kept routes cannot be listed',
      );
      return [];
    }
  }

  #keep(): void {
    for (const { applianceId, serial, table } of this.#book.changedSince(this.#keptSerial)) {
      const file = path.join(this.#directory, `${applianceId}.json`);
      try {
        writeFileSync(`${file}.new`, JSON.stringify(table));
        renameSync(`${file}.new`, file);
        this.#keptSerial.set(applianceId, serial);
      } catch (thrown) {
        this.#deps.log.error({ file, why: messageOf(thrown) }, 'a box’s routes cannot be kept');
        return;
      }
    }
  }
}

function named(prefixes: readonly string[]): string {
  const more = prefixes.length > NAMED_MAX ? ', …' : '';
  return `${prefixes.slice(0, NAMED_MAX).join(', ')}${more}`;
}
