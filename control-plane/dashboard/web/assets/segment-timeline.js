/**
 * Segments along the media's time: a lane for video and one for audio, each block in the colour and with the number
 * of the box that sent it, a cross where a request failed. Long titles show a window around the playhead.
 */
import { element, setText } from './dom.js';
import { formatPosition } from './format.js';

/** @typedef {import('./delivery.js').Delivery} Delivery */
/** @typedef {(applianceId: string) => { number: string, colour: string }} BoxLook */

const WHOLE_UP_TO_SECONDS = 180;
const WINDOW_BEHIND_SECONDS = 60;
const WINDOW_SECONDS = 180;
const MARKS_ABOUT = 8;
const MARK_STEPS_SECONDS = [1, 2, 5, 10, 15, 30, 60];

export class SegmentTimeline {
  #video;
  #lookOf;
  #lanes;
  #buffered = element('div');
  #marks = element('div');
  #head = element('div', { class: 'head' });
  /** @type {Map<string, HTMLElement>} */
  #blocks = new Map();
  #drawn = '';
  #widthPixels = 0;

  /**
   * @param {HTMLElement} root
   * @param {HTMLVideoElement} video
   * @param {BoxLook} lookOf
   */
  constructor(root, video, lookOf) {
    this.#video = video;
    this.#lookOf = lookOf;
    this.#lanes = {
      video: element('div', { class: 'lane', 'data-kind': 'video' }, element('b', {}, 'Video')),
      audio: element('div', { class: 'lane', 'data-kind': 'audio' }, element('b', {}, 'Audio')),
    };
    new ResizeObserver(() => {
      this.#widthPixels = root.clientWidth;
    }).observe(root);
    root.append(this.#lanes.video, this.#lanes.audio, this.#buffered, this.#marks, this.#head);
  }

  clear() {
    for (const block of this.#blocks.values()) block.remove();
    this.#blocks.clear();
    this.#drawn = '';
  }

  /** Moves the playhead and nothing else: often. */
  moveHead() {
    const { from, seconds } = this.#window();
    const left = seconds === 0 ? 0 : (this.#video.currentTime - from) / seconds;
    this.#head.style.transform = `translateX(${(left * this.#widthPixels).toFixed(1)}px)`;
  }

  /** @param {Delivery} delivery */
  draw(delivery) {
    const { from, seconds } = this.#window();
    if (seconds === 0) return;
    const place = (/** @type {number} */ at) => `${(((at - from) / seconds) * 100).toFixed(3)}%`;
    const wanted = new Map();
    // The newest request for a place wins: a title that plays again is shown as it was served last.
    for (const segment of delivery.segments) {
      if (!segment.isInit)
        wanted.set(`${segment.kind} ${segment.startSeconds.toFixed(2)}`, segment);
    }
    const seen = new Set();
    for (const [key, segment] of wanted) {
      const end = segment.startSeconds + segment.durationSeconds;
      if (end <= from || segment.startSeconds >= from + seconds) continue;
      seen.add(key);
      this.#drawBlock(key, segment, place, seconds);
    }
    for (const failure of delivery.failures.slice(-100)) {
      if (failure.startSeconds < from || failure.startSeconds > from + seconds) continue;
      const key = `failed ${failure.n}`;
      seen.add(key);
      const mark = this.#block(key, 'em', failure.kind);
      setText(mark, '×');
      mark.title = `${failure.applianceId} ${failure.why}`;
      mark.style.left = place(failure.startSeconds);
    }
    for (const [key, block] of this.#blocks) {
      if (seen.has(key)) continue;
      block.remove();
      this.#blocks.delete(key);
    }
    this.#drawBuffered(place);
    this.#drawMarks(from, seconds, place);
  }

  /**
   * @param {string} key
   * @param {import('./delivery.js').Segment} segment
   * @param {(at: number) => string} place
   * @param {number} seconds
   */
  #drawBlock(key, segment, place, seconds) {
    const block = this.#block(key, 'span', segment.kind);
    const { number, colour } = this.#lookOf(segment.applianceId);
    block.style.left = place(segment.startSeconds);
    block.style.width = `${((segment.durationSeconds / seconds) * 100).toFixed(3)}%`;
    block.style.background = colour;
    setText(block, number);
    block.title = `${segment.applianceId}, ${segment.kind}, ${formatPosition(segment.startSeconds)}`;
  }

  /** @param {string} key @param {string} tag @param {'video' | 'audio'} kind */
  #block(key, tag, kind) {
    let block = this.#blocks.get(key);
    if (block === undefined) {
      block = element(tag);
      this.#lanes[kind].append(block);
      this.#blocks.set(key, block);
    }
    return block;
  }

  /** @param {(at: number) => string} place */
  #drawBuffered(place) {
    const { buffered } = this.#video;
    while (this.#buffered.children.length > buffered.length) {
      this.#buffered.lastElementChild?.remove();
    }
    for (let index = 0; index < buffered.length; index++) {
      const bar =
        /** @type {HTMLElement | undefined} */ (this.#buffered.children[index]) ??
        this.#buffered.appendChild(element('div', { class: 'buffered', title: 'buffered' }));
      bar.style.left = place(buffered.start(index));
      bar.style.width = `calc(${place(buffered.end(index))} - ${place(buffered.start(index))})`;
    }
  }

  /**
   * @param {number} from
   * @param {number} seconds
   * @param {(at: number) => string} place
   */
  #drawMarks(from, seconds, place) {
    const key = `${from} ${seconds}`;
    if (key === this.#drawn) return;
    this.#drawn = key;
    const step = MARK_STEPS_SECONDS.find((step) => seconds / step <= MARKS_ABOUT) ?? 60;
    const marks = [];
    for (let at = Math.ceil(from / step) * step; at <= from + seconds; at += step) {
      const mark = element('span', { class: 'mark' }, formatPosition(at));
      mark.style.left = place(at);
      if (at > from + seconds * 0.985) mark.classList.add('last');
      marks.push(mark);
    }
    this.#marks.replaceChildren(...marks);
  }

  #window() {
    const { duration, currentTime } = this.#video;
    if (!Number.isFinite(duration) || duration <= 0) return { from: 0, seconds: 0 };
    if (duration <= WHOLE_UP_TO_SECONDS) return { from: 0, seconds: duration };
    // Moves in steps, not with every frame: blocks stand still while they are read.
    const step = WINDOW_BEHIND_SECONDS / 2;
    const wish = Math.floor((currentTime - WINDOW_BEHIND_SECONDS) / step) * step;
    const from = Math.min(Math.max(0, wish), duration - WINDOW_SECONDS);
    return { from, seconds: WINDOW_SECONDS };
  }
}
