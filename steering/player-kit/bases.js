/**
 * Where the boxes are, by pathway id: out of a play answer, and from a URL on one box to the same file on the others.
 */

export const FILE_ID = /^[A-Za-z0-9_-]{43}$/;

/** Bases out of a play answer (`/play/:titleId.json`): every box of every file, in order of rank. @param {any} answer */
export function basesOf(answer) {
  const playAnswer = answer.play ?? answer; // as the playback service wraps it, or as steering gave it
  /** @type {Record<string, string>} */
  const bases = {};
  const ranks = Math.max(...playAnswer.files.map((file) => file.urls.length));
  for (let rank = 0; rank < ranks; rank++) {
    for (const { urls } of playAnswer.files) {
      const one = urls[rank];
      if (one !== undefined && one.kind !== 'origin')
        bases[one.pathwayId] ??= new URL(one.url).origin;
    }
  }
  for (const { urls } of playAnswer.files) {
    const last = urls.at(-1);
    bases[last.pathwayId] ??= new URL(last.url).origin;
  }
  return bases;
}

/**
 * Where else a media URL is: the same path (token and all) on every base, the URL's own box first.
 *
 * @param {string} url
 * @param {Readonly<Record<string, string>>} bases
 */
export function sourcesOf(url, bases) {
  const { origin, pathname, search } = new URL(url);
  const all = Object.entries(bases).map(([id, base]) => ({
    id,
    url: `${base}${pathname}${search}`,
  }));
  const own = all.find((source) => source.url === url) ?? { id: origin, url };
  return [own, ...all.filter((source) => source.url !== url)];
}
