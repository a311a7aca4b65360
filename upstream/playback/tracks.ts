/**
 * Decides what of a title a streaming manifest shows, and whether there is anything to show.
 */
import { PLAY_FILES_MAX } from '#steering/contract.ts';
import type { FileEntry, TitleListing } from '../contract.ts';

export type StreamFile = FileEntry & {
  readonly codec: string;
  readonly bitrateBps: number;
  readonly peakBps: number;
  readonly index: NonNullable<FileEntry['index']>;
};

export interface Tracks {
  readonly video: readonly StreamFile[]; // lowest rate first
  readonly audio: readonly StreamFile[];
}

export type NotStreamable = 'opaque' | 'no-index';

/** At most PLAY_FILES_MAX files, video before audio: what one question to steering covers. */
export function tracksOf(listing: TitleListing): Tracks | NotStreamable {
  if (listing.files.every(({ kind }) => kind === 'opaque')) return 'opaque';
  const usable = listing.files.filter(isStreamFile);
  const audio = usable.filter(({ kind }) => kind === 'audio').slice(0, PLAY_FILES_MAX / 2);
  const video = usable
    .filter(({ kind }) => kind === 'video')
    .toSorted((a, b) => a.peakBps - b.peakBps)
    .slice(0, PLAY_FILES_MAX - audio.length);
  return video.length + audio.length === 0 ? 'no-index' : { video, audio };
}

function isStreamFile(file: FileEntry): file is StreamFile {
  return (
    (file.kind === 'video' || file.kind === 'audio') &&
    file.codec !== undefined &&
    file.bitrateBps !== undefined &&
    file.peakBps !== undefined &&
    file.index !== undefined
  );
}

/** What a person is offered to choose: "English", or "Audio" where the language is not known. Unique within the list. */
export function audioNames(audio: readonly StreamFile[]): readonly string[] {
  const seen = new Map<string, number>();
  return audio.map(({ language }) => {
    const name = languageName(language);
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name} ${count}`;
  });
}

function languageName(language: string | undefined): string {
  if (language === undefined) return 'Audio';
  try {
    return new Intl.DisplayNames(['en'], { type: 'language' }).of(language) ?? language;
  } catch {
    return language;
  }
}
