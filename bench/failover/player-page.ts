/**
 * The page that plays for the bench, one player at a time: hls.js and dash.js with the kit, and as they come.
 *
 * A server on a port of the core: `/?player=hls-kit|hls|dash-kit|dash&url=…`. The page keeps `window.record`: when the first frame stood,
 * how long the picture stood still since, and where the playhead is.
 */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { CORE_ADDRESS } from '../load/links.ts';

export type PlayerName = 'hls-kit' | 'hls' | 'dash-kit' | 'dash';

const KIT = path.join(import.meta.dirname, '..', '..', 'steering', 'player-kit');

/** A file of a package, out of the tree itself: not every package lets its files be resolved. */
function vendor(name: string, file: string): string {
  return path.join(import.meta.dirname, '..', '..', 'node_modules', name, file);
}

const FILES: Readonly<Record<string, string>> = {
  '/hls.js': vendor('hls.js', 'dist/hls.min.js'),
  '/dash.js': vendor('dashjs', 'dist/modern/umd/dash.all.min.js'),
  '/bases.js': path.join(KIT, 'bases.js'),
  '/dash-kit.js': path.join(KIT, 'dash-kit.js'),
  '/hls-kit.js': path.join(KIT, 'hls-kit.js'),
  '/range-continuation.js': path.join(KIT, 'range-continuation.js'),
};

const PAGE = `<!doctype html><meta charset="utf-8"><title>player</title>
<video id="video" muted playsinline></video>
<script src="/hls.js"></script><script src="/dash.js"></script>
<script type="module">
const query = new URLSearchParams(location.search);
const player = query.get('player');
const url = query.get('url');
const video = document.getElementById('video');
const record = { firstFrameMs: null, stalledMs: 0, stallSince: null, errors: [] };
const openedMs = performance.now();
window.record = record;
window.look = () => ({
  firstFrameMs: record.firstFrameMs,
  stalledMs: record.stalledMs + (record.stallSince === null ? 0 : performance.now() - record.stallSince),
  at: video.currentTime,
  buffered: video.buffered.length === 0 ? 0 : video.buffered.end(video.buffered.length - 1) - video.currentTime,
  errors: record.errors,
});
video.requestVideoFrameCallback(() => { record.firstFrameMs = performance.now() - openedMs; });
video.addEventListener('waiting', () => {
  if (record.firstFrameMs !== null && !video.seeking) record.stallSince ??= performance.now();
});
video.addEventListener('playing', () => {
  if (record.stallSince === null) return;
  record.stalledMs += performance.now() - record.stallSince;
  record.stallSince = null;
});
const bases = {};
if (player.endsWith('-kit')) {
  const { basesOf } = await import('/bases.js');
  const playUrl = url.replace(/\\/(master\\.m3u8|manifest\\.mpd)/, '.json');
  void fetch(playUrl).then((answer) => answer.json()).then((play) => Object.assign(bases, basesOf(play)));
}
if (player.startsWith('dash')) {
  const dash = dashjs.MediaPlayer().create();
  if (player === 'dash-kit') (await import('/dash-kit.js')).attachKit(dash, { bases });
  dash.initialize(video, url, true);
  dash.on('error', (event) => record.errors.push(String(event.error?.message ?? event.error)));
} else {
  let kit = { config: {} };
  if (player === 'hls-kit') {
    const { attachKit, kitConfig } = await import('/hls-kit.js');
    kit = kitConfig({ bases });
    kit.attach = attachKit;
  }
  // By default it holds up to ten minutes of a low bitrate: the film would be loaded whole before anything happens.
  const hls = new Hls({ ...kit.config, maxMaxBufferLength: 30 });
  kit.attach?.(hls, kit);
  hls.on('hlsError', (_, data) => { if (data.fatal) record.errors.push(data.details); });
  hls.on('hlsManifestParsed', () => video.play());
  hls.loadSource(url);
  hls.attachMedia(video);
}
</script>`;

export class PlayerPages implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<PlayerPages> {
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://page');
      const file = FILES[pathname];
      if (file === undefined) {
        response.writeHead(pathname === '/' ? 200 : 404, { 'content-type': 'text/html' });
        response.end(pathname === '/' ? PAGE : '');
        return;
      }
      response.writeHead(200, { 'content-type': 'text/javascript' });
      response.end(readFileSync(file));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, CORE_ADDRESS, resolve);
    });
    return new PlayerPages(server);
  }

  urlOf(player: PlayerName, url: string): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://${CORE_ADDRESS}:${port}/?player=${player}&url=${encodeURIComponent(url)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
