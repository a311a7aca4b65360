/**
 * Prometheus metrics of one box, read from what it counts anyway: nothing is added to the serving path.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { Heartbeat } from '#appliance/contract.ts';
import { admittedShare, type Gate } from '../serve/admission-gate.ts';
import type { DenyList } from '../serve/deny-list.ts';
import { histogramText } from '../serve/log-histogram.ts';
import type { QualityLedger } from '../serve/quality.ts';
import type { SenderStats } from '../serve/sender.ts';
import type { StoreFigures } from '../store/store.ts';
import type { PoolFigures } from './listener-pool.ts';

export interface MetricsSource {
  readonly heartbeat: Heartbeat | null;
  readonly sender: SenderStats;
  readonly store: StoreFigures;
  readonly missFlights: number;
  readonly isConnected: boolean;
  readonly gate: Gate;
  readonly certificateNotAfterMs: number | null; // null: no TLS
  readonly quality: QualityLedger;
  readonly denials: DenyList;
  readonly pool: PoolFigures | null; // null: one thread serves
  readonly hotChunks: { readonly hits: number; readonly misses: number };
}

/** What Prometheus reads. */
export interface MetricsPage {
  readonly contentType: string;
  readonly text: string;
}

export function createMetrics(read: () => MetricsSource): () => Promise<MetricsPage> {
  const registry = new Registry();
  const gauge = (name: string, help: string, value: (source: MetricsSource) => number): void => {
    const made: Gauge = new Gauge({
      name: `nightfill_appliance_${name}`,
      help,
      registers: [registry],
      collect: (): void => made.set(value(read())),
    });
  };
  const counter = (
    name: string,
    help: string,
    label: string | null,
    value: (source: MetricsSource) => Readonly<Record<string, number>>,
  ): void => {
    const made: Counter = new Counter({
      name: `nightfill_appliance_${name}_total`,
      help,
      labelNames: label === null ? [] : [label],
      registers: [registry],
      collect: (): void => {
        made.reset();
        for (const [key, count] of Object.entries(value(read()))) {
          if (label === null) made.inc(count);
          else made.inc({ [label]: key }, count);
        }
      },
    });
  };
  const counters = (source: MetricsSource): Heartbeat['counters'] | undefined =>
    source.heartbeat?.counters;

  counter(
    'viewer_bytes',
    'Body bytes sent to viewers, by reason',
    'reason',
    (source) => counters(source)?.viewerBytesByReason ?? {},
  );
  counter('viewer_requests', 'Content answers to viewers', null, (source) => ({
    all: counters(source)?.viewerRequests ?? 0,
  }));
  counter('peer_bytes_served', 'Body bytes sent to other boxes', null, (source) => ({
    all: counters(source)?.peerBytesServed ?? 0,
  }));
  counter(
    'fill_bytes',
    'Bytes fetched by the manifest, by kind of source',
    'source',
    (source) => counters(source)?.fillBytes ?? {},
  );
  counter(
    'miss_bytes',
    'Bytes fetched on demand, by kind of source',
    'source',
    (source) => counters(source)?.missBytes ?? {},
  );
  counter(
    'refused',
    'Requests refused, by reason',
    'reason',
    (source) => counters(source)?.refused ?? {},
  );
  counter('chunks_corrupt', 'Chunks dropped because their hash did not match', null, (source) => ({
    all: counters(source)?.chunksCorrupt ?? 0,
  }));
  counter('files_evicted', 'Reactive files that left for room', null, (source) => ({
    all: source.store.filesEvicted,
  }));
  counter('files_lost', 'Files in the catalogue that the disk did not have', null, (source) => ({
    all: source.store.filesLost,
  }));
  counter('connections_cut', 'Connections cut by a limit', 'limit', (source) => source.sender.cut);
  counter('hot_chunks', 'Chunks looked for in memory', 'result', (source) => ({
    hit: source.hotChunks.hits,
    miss: source.hotChunks.misses,
  }));
  counter(
    'serving_thread_failures',
    'Serving threads that ended with a bug and were replaced',
    null,
    (source) => ({ all: source.pool?.failures ?? 0 }),
  );
  counter(
    'serving_thread_asked',
    'Requests that serving threads did not decide alone',
    null,
    (source) => ({ all: source.pool?.asked ?? 0 }),
  );
  gauge('serving_threads', 'Threads that serve', (source) => source.pool?.threads ?? 1);
  gauge('connections', 'Open content connections', (source) => source.sender.connections);
  gauge('egress_bps', 'Bits per second sent', (source) => source.heartbeat?.load.egressBps ?? 0);
  gauge('files', 'Files in the catalogue, whole and partial', (source) => source.store.files);
  gauge('holdings_files', 'Whole files', (source) => source.heartbeat?.holdings.files ?? 0);
  gauge('used_bytes', 'Bytes of content', (source) => source.store.usedBytes);
  gauge(
    'capacity_bytes',
    'Bytes that content may take on volumes that are up',
    (source) => source.store.capacityBytes,
  );
  gauge(
    'fill_files_wanted',
    'Files that the manifest wants',
    (source) => source.heartbeat?.fill.filesWanted ?? 0,
  );
  gauge(
    'fill_files_held',
    'Files of the manifest that are whole',
    (source) => source.heartbeat?.fill.filesHeld ?? 0,
  );
  gauge(
    'fill_rate_bits_per_second',
    'Bits per second that the fill brings',
    (source) => source.heartbeat?.fill.rateBps ?? 0,
  );
  gauge('fill_bytes_left', 'Bytes of the manifest that are not here yet', ({ heartbeat }) =>
    heartbeat === null ? 0 : Math.max(0, heartbeat.fill.bytesWanted - heartbeat.fill.bytesHeld),
  );
  gauge(
    'fill_eta_seconds',
    'Until the fill is done at its present rate; NaN while nothing moves',
    (source) => etaSeconds(source.heartbeat?.fill),
  );
  gauge('fill_active', 'Files being fetched', (source) => source.heartbeat?.fill.active ?? 0);
  for (const what of ['window', 'source', 'space', 'turn', 'pause', 'budget', 'load'] as const) {
    gauge(`fill_waits_for_${what}`, `1 while the fill waits for: ${what}`, (source) =>
      source.heartbeat?.fill.waitingFor === what ? 1 : 0,
    );
  }
  gauge(
    'fill_sources_left_out',
    'Sources that are not asked: bad bytes, or failing',
    (source) => source.heartbeat?.fill.leftOut?.length ?? 0,
  );
  gauge('miss_flights', 'Chunks being fetched on demand', (source) => source.missFlights);
  gauge('control_plane_connected', '1 while the heartbeat connection is open', (source) =>
    source.isConnected ? 1 : 0,
  );
  gauge('health', '0 healthy, 1 degraded, 2 down', (source) =>
    ['healthy', 'degraded', 'down'].indexOf(source.heartbeat?.health.status ?? 'down'),
  );
  counter('denied', 'Things on the deny list that holds, by kind', 'kind', (source) =>
    source.denials.figures(),
  );
  gauge(
    'denials_version',
    'Version of the deny list that holds',
    (source) => source.denials.version,
  );
  gauge('admitted_share', 'Share of new sessions that is let in', (source) =>
    admittedShare(source.gate),
  );
  gauge(
    'tls_certificate_expiry_timestamp_seconds',
    'When the TLS certificate ends; NaN without TLS',
    (source) => (source.certificateNotAfterMs ?? NaN) / 1000,
  );
  counter('cmcd_requests', 'Requests in which a player said how it is (CMCD)', null, (source) => ({
    all: source.quality.qoe.requests,
  }));
  counter('cmcd_starved', 'Of those, after the player’s buffer ran dry', null, (source) => ({
    all: source.quality.qoe.starved,
  }));
  counter('path_answers_left_out', 'Answers beyond the paths counted a minute', null, (source) => ({
    all: source.quality.answersLeftOut,
  }));
  return async () => {
    const { qoe } = read().quality;
    const histograms = [
      histogramText(
        'nightfill_appliance_cmcd_bitrate_kbps',
        'Bitrate that players asked for',
        qoe.bitrateKbps,
      ),
      histogramText(
        'nightfill_appliance_cmcd_throughput_kbps',
        'Throughput that players measured',
        qoe.throughputKbps,
      ),
      histogramText('nightfill_appliance_cmcd_buffer_ms', 'Buffer that players had', qoe.bufferMs),
    ];
    return {
      contentType: registry.contentType,
      text: `${await registry.metrics()}${histograms.join('')}`,
    };
  };
}

function etaSeconds(fill: Heartbeat['fill'] | undefined): number {
  const left = fill === undefined ? 0 : Math.max(0, fill.bytesWanted - fill.bytesHeld);
  if (left === 0) return 0;
  return fill === undefined || fill.rateBps <= 0 ? NaN : (left * 8) / fill.rateBps;
}
