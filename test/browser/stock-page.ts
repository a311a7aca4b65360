/**
 * A page with a video element and a player's script, on a loopback port: browsers let no page from elsewhere ask loopback.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '..', '..');
const FILES: Readonly<Record<string, string>> = {
  '/hls.js': 'node_modules/hls.js/dist/hls.min.js',
  '/dash.js': 'node_modules/dashjs/dist/modern/umd/dash.all.min.js',
  '/bases.js': 'steering/player-kit/bases.js',
  '/dash-kit.js': 'steering/player-kit/dash-kit.js',
  '/range-continuation.js': 'steering/player-kit/range-continuation.js',
};

/**
 * `start` is a module's text: `url` is the manifest's, `video` the element. It has the player begin: dash.js asks steering only
 * when it hears the element's "play", so nobody may play before it listens.
 */
export async function stockPage(
  script: 'hls.js' | 'dash.js',
  start: string,
  url: string,
): Promise<AsyncDisposable & { readonly url: string }> {
  const page = `<!doctype html><meta charset="utf-8"><title>${script}</title>
<video id="video" muted playsinline></video><script src="/${script}"></script>
<script type="module">const url = ${JSON.stringify(url)}; const video = document.getElementById('video');
${start}</script>`;
  const server = createServer((request, response) => {
    const file = FILES[request.url ?? ''];
    const type = file === undefined ? 'text/html' : 'text/javascript';
    response.writeHead(file === undefined && request.url !== '/' ? 404 : 200, {
      'content-type': type,
    });
    response.end(file === undefined ? page : readFileSync(path.join(ROOT, file)));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
