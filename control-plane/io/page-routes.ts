/**
 * The two web pages and what they load: our own files, and two libraries out of node_modules.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { titleSummaries } from './catalogue-routes.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const WEB_DIR = path.join(import.meta.dirname, '..', 'dashboard', 'web');
const ASSETS_DIR = path.join(WEB_DIR, 'assets');
/** The player kit, as any player would load it: static files of the tree, not a part of this program. */
const KIT_DIR = path.join(import.meta.dirname, '..', '..', 'steering', 'player-kit');
const KIT_FILES = ['bases.js', 'dash-kit.js', 'hls-kit.js', 'range-continuation.js'];

/** URL -> file of a package. Nothing else of node_modules can be reached. */
const VENDOR: readonly {
  readonly url: string;
  readonly packageName: string;
  readonly file: string;
}[] = [
  { url: '/vendor/hls.min.js', packageName: 'hls.js', file: 'dist/hls.min.js' },
  { url: '/vendor/uPlot.iife.min.js', packageName: 'uplot', file: 'dist/uPlot.iife.min.js' },
  { url: '/vendor/uPlot.esm.js', packageName: 'uplot', file: 'dist/uPlot.esm.js' },
  { url: '/vendor/uPlot.min.css', packageName: 'uplot', file: 'dist/uPlot.min.css' },
];

const PAGES: readonly { readonly url: string; readonly file: string }[] = [
  { url: '/', file: 'index.html' },
  { url: '/watch', file: 'watch.html' },
];

/** Nothing from anywhere else; media and playlists from whatever box steering names. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self' http: https:",
  'media-src blob: http: https:',
  "worker-src 'self' blob:",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join('; ');

export async function pageRoutes(server: Server, plane: Plane): Promise<void> {
  const { authentication, config } = plane;
  const person = (request: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
    authentication.person(request);
    done();
  };

  await server.register(async (scope) => {
    scope.addHook('onRequest', person);
    scope.addHook('onSend', async (_request, reply) => {
      void reply
        .header('cache-control', 'no-cache') // an update shows at the next load; the ETag saves the bytes
        .header('content-security-policy', CONTENT_SECURITY_POLICY)
        .header('x-content-type-options', 'nosniff')
        .header('referrer-policy', 'no-referrer');
    });
    await scope.register(fastifyStatic, {
      root: ASSETS_DIR,
      prefix: '/assets/',
      cacheControl: false,
    });
    for (const file of KIT_FILES) {
      scope.get(`/kit/${file}`, (_request, reply) =>
        reply.sendFile(file, KIT_DIR, { cacheControl: false }),
      );
    }
    for (const { url, file } of PAGES) {
      scope.get(url, (_request, reply) => reply.sendFile(file, WEB_DIR, { cacheControl: false }));
    }
    for (const { url, packageName, file } of VENDOR) {
      scope.get(url, (_request, reply) => {
        const directory = packageDirectory(packageName);
        if (directory !== null && existsSync(path.join(directory, file))) {
          return reply.sendFile(file, directory);
        }
        throw new HttpProblem(
          404,
          'library-missing',
          `${packageName} is not installed where this program looks: run "npm ci" in its tree`,
        );
      });
    }
    scope.get('/watch/config.json', () => ({
      playbackUrl: config.playbackUrl,
      titles: titleSummaries(plane).filter((title) => title.kind !== 'opaque'),
    }));
  });
}

/** Where a package lives, as this file's own imports would find it. */
function packageDirectory(packageName: string): string | null {
  try {
    return path.dirname(fileURLToPath(import.meta.resolve(`${packageName}/package.json`)));
  } catch {
    return null;
  }
}
