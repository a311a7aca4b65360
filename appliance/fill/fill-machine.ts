/**
 * One wanted file on its way onto the disk.
 *
 *   waiting --due, window open--> fetching --all chunks stored--> stored
 *      ^                             |  \-- corrupt everywhere | attempts spent --> abandoned --later--> waiting
 *      '- failed (backoff), paused, deferred -'
 *
 * Shape:      step(state, event, now) -> { state, effects }
 * Invariants: (1) at most one fetch per file is under way: 'fetch' is only given on the edge waiting -> fetching
 *             (2) every failure waits longer than the one before, up to BACKOFF_MS_MAX
 *             (3) a file that the manifest no longer names leaves the machine: 'unwanted' stops a fetch
 */
export type FillState =
  | {
      readonly name: 'waiting';
      readonly notBeforeMs: number;
      readonly attempt: number;
      readonly lacked: number; // times in a row that everybody was asked and nobody had it
    }
  | {
      readonly name: 'fetching'; // bytes on disk count chunk by chunk only
      readonly sinceMs: number;
      readonly attempt: number;
      readonly lacked: number;
    }
  | { readonly name: 'stored' } // every chunk hash was verified
  | { readonly name: 'abandoned'; readonly reason: AbandonReason; readonly untilMs: number };

export type AbandonReason = 'corrupt-everywhere' | 'attempts-spent' | 'no-room';

export type FillEvent =
  | { readonly name: 'due' }
  | { readonly name: 'whole' }
  | { readonly name: 'progressed' } // chunks came in before the fetch ended
  | { readonly name: 'failed'; readonly code: string }
  | { readonly name: 'paused' } // the window closed
  | { readonly name: 'deferred'; readonly why: 'turn' | 'nobody-has-it' } // nothing failed: another box is to have it first
  | { readonly name: 'lost' }; // it was whole, and is not any more

export type FillEffect = 'fetch' | 'report-stored' | 'report-abandoned';

export interface FillStep {
  readonly state: FillState;
  readonly effects: readonly FillEffect[];
}

const ATTEMPTS_MAX = 8;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MS_MAX = 60_000;
/** A file whose turn has not come is looked at again after this. */
const TURN_MS = 1000;
/** One that every neighbour lacks is asked around for ever more rarely: a box that is left alone has hundreds of them. */
const LACKED_FIRST_MS = 15_000;
const LACKED_MS_MAX = 240_000;
/** After giving up: long enough for an operator or the next manifest, short enough to heal by itself. */
const ABANDONED_MS = 10 * 60_000;

export const NEW_FILL: FillState = {
  name: 'waiting',
  notBeforeMs: -Infinity,
  attempt: 0,
  lacked: 0,
};

export function stepFill(state: FillState, event: FillEvent, nowMs: number): FillStep {
  if (event.name === 'whole') {
    return state.name === 'stored' ? same(state) : to({ name: 'stored' }, 'report-stored');
  }
  switch (state.name) {
    case 'waiting':
      if (event.name !== 'due' || nowMs < state.notBeforeMs) return same(state);
      return to(
        { name: 'fetching', sinceMs: nowMs, attempt: state.attempt, lacked: state.lacked },
        'fetch',
      );
    case 'fetching':
      return fetching(state, event, nowMs);
    case 'stored':
      return event.name === 'lost' ? to(NEW_FILL) : same(state);
    case 'abandoned':
      return event.name === 'due' && nowMs >= state.untilMs ? to(NEW_FILL) : same(state);
  }
}

function fetching(
  state: Extract<FillState, { name: 'fetching' }>,
  event: FillEvent,
  nowMs: number,
): FillStep {
  switch (event.name) {
    case 'paused':
      return to({ name: 'waiting', notBeforeMs: nowMs, attempt: state.attempt, lacked: 0 });
    case 'deferred': {
      const isLacked = event.why === 'nobody-has-it';
      const lackedMs = Math.min(LACKED_MS_MAX, LACKED_FIRST_MS * 2 ** state.lacked);
      return to({
        name: 'waiting',
        notBeforeMs: nowMs + (isLacked ? lackedMs : TURN_MS),
        attempt: state.attempt,
        lacked: isLacked ? state.lacked + 1 : state.lacked,
      });
    }
    case 'progressed': // what moves is not spent
      return to({ ...state, attempt: 0, lacked: 0 });
    case 'failed': {
      if (event.code === 'no-room') return abandon('no-room', nowMs);
      const attempt = state.attempt + 1;
      if (attempt >= ATTEMPTS_MAX) {
        return abandon(
          event.code === 'chunk-corrupt' ? 'corrupt-everywhere' : 'attempts-spent',
          nowMs,
        );
      }
      const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_FIRST_MS * 2 ** (attempt - 1));
      return to({ name: 'waiting', notBeforeMs: nowMs + backoffMs, attempt, lacked: 0 });
    }
    default:
      return same(state);
  }
}

function abandon(reason: AbandonReason, nowMs: number): FillStep {
  // Room may come with the next eviction or manifest: looked at again sooner.
  const untilMs = nowMs + (reason === 'no-room' ? BACKOFF_MS_MAX : ABANDONED_MS);
  return to({ name: 'abandoned', reason, untilMs }, 'report-abandoned');
}

function same(state: FillState): FillStep {
  return { state, effects: [] };
}

function to(state: FillState, ...effects: readonly FillEffect[]): FillStep {
  return { state, effects };
}
