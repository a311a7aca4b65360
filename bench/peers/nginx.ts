/**
 * nginx as a yardstick: the Debian package, one worker, sendfile, tcp_nopush, open_file_cache, no access log.
 *
 * Only what was started here is stopped. Its files live in a directory of the bench.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startServer, type RunningServer } from '../load/measure.ts';
import type { Namespace } from '../load/namespace.ts';

export interface NginxPlan {
  readonly directory: string; // for its configuration, logs and temporary files
  readonly root: string; // what it serves
  readonly address: string;
  readonly port: number;
  /** Absent: one, on the server's core. More: on any. */
  readonly workers?: number;
  /** Further lines of the server block, e.g. "aio threads;". */
  readonly serverLines?: readonly string[];
  /** Further lines of the http block. */
  readonly httpLines?: readonly string[];
  /** Lines of the main block, e.g. "thread_pool default threads=32;". */
  readonly mainLines?: readonly string[];
  /** The location block; by default files from `root`. */
  readonly location?: string;
}

/** Null where nginx is here; else what to do about it. */
export function whyNoNginx(): string | null {
  return spawnSync('nginx', ['-v']).error === undefined
    ? null
    : 'nginx is missing: apt-get install --no-install-recommends nginx-light (and "systemctl disable --now nginx", the bench starts its own)';
}

export function nginxVersion(): string {
  return spawnSync('nginx', ['-v'], { encoding: 'utf8' }).stderr.trim();
}

export async function startNginx(plan: NginxPlan, namespace: Namespace): Promise<RunningServer> {
  const why = whyNoNginx();
  if (why !== null) throw new Error(why);
  mkdirSync(path.join(plan.directory, 'temp'), { recursive: true });
  const file = path.join(plan.directory, 'nginx.conf');
  writeFileSync(file, configurationOf(plan));
  const argv = ['nginx', '-p', plan.directory, '-c', file, '-e', 'stderr'];
  const workers = plan.workers ?? 1;
  return startServer(
    'nginx',
    argv,
    namespace,
    (output) => output.split('start worker process ').length > workers,
    plan.workers === undefined,
  );
}

export function configurationOf(plan: NginxPlan): string {
  const host = plan.address.includes(':') ? `[${plan.address}]` : plan.address;
  const lines = (more: readonly string[] | undefined, indent: string): string =>
    (more ?? []).map((line) => `${indent}${line}\n`).join('');
  return `daemon off;
${process.getuid?.() === 0 ? 'user root;\n' : ''}worker_processes ${plan.workers ?? 1};
worker_rlimit_nofile 65536;
pid ${path.join(plan.directory, 'nginx.pid')};
error_log stderr notice;
${lines(plan.mainLines, '')}events { worker_connections 16384; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  open_file_cache max=10000 inactive=300s;
  open_file_cache_valid 300s;
  types { }
  default_type video/mp4;
  client_body_temp_path temp/body;
  proxy_temp_path temp/proxy;
  fastcgi_temp_path temp/fastcgi;
  uwsgi_temp_path temp/uwsgi;
  scgi_temp_path temp/scgi;
${lines(plan.httpLines, '  ')}  server {
    listen ${host}:${plan.port}${plan.workers === undefined ? '' : ' reuseport'};
${lines(plan.serverLines, '    ')}    location / { ${plan.location ?? `root ${plan.root};`} }
  }
}
`;
}
