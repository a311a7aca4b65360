/**
 * Prefixes end to end with real routers: ExaBGP is the ISP's, gobgpd runs beside each box and tells it what it hears (BMP).
 *
 *   ExaBGP --BGP--> gobgpd A --BMP--> box A --+--> control plane --> steering --> DNS, /v1/play
 *          '-BGP--> gobgpd B --BMP--> box B --'
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import dnsPacket from 'dns-packet';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');
const SERVICES = '127.78.0.1';
const CONTROL_PLANE = `http://${SERVICES}:26500`;
const STEERING = `http://${SERVICES}:26502`;
const DNS_PORT = 26_553;
const ISP = '127.78.9.1';
const ISP_AS = 64_500;
const OUR_AS = 64_600;
const BGP_PORT = 11_179;
const BMP_PORT = 11_019;
const FOLLOW_MS_MAX = 5000;
const ROLES = ['publish', 'planner', 'steering', 'playback', 'operator'] as const;
const TITLE = 'title-one';
const FILE = createHash('sha256').update('a file').digest('base64url');

interface SiteUnderTest {
  readonly id: string;
  readonly box: string; // address of box and of its monitored router
  readonly router: string;
}
const A: SiteUnderTest = { id: 'aix', box: '127.78.1.1', router: '127.78.1.9' };
const B: SiteUnderTest = { id: 'brest', box: '127.78.2.1', router: '127.78.2.9' };

const missing = ['gobgpd', 'exabgp'].filter(
  (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0,
);
const skip =
  missing.length === 0
    ? false
    : `${missing.join(' and ')} not installed (Debian packages of that name)`;

const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-bgp-'));
const commands = path.join(directory, 'commands');
const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

const tokenOf = (name: string): string => createHash('sha256').update(`bgp ${name}`).digest('hex');

function run(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): { child: ChildProcess; text: () => string } {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  running.add(child);
  child.once('close', () => running.delete(child));
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (part: Buffer) => {
      text = (text + part.toString()).slice(-20_000);
    });
  }
  return { child, text: () => text };
}

async function daemon(name: string, config: object): Promise<void> {
  const file = path.join(directory, `${name}.json`);
  writeFileSync(file, JSON.stringify(config));
  const { child, text } = run(PROGRAM, [
    name.split('-')[0] === 'box' ? 'appliance' : name,
    '--config',
    file,
  ]);
  await until(`${name} to be ready`, () => {
    assert.equal(child.exitCode, null, text());
    return text().includes('"event":"ready"');
  });
}

async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  msMax = 20_000,
): Promise<number> {
  const start = performance.now();
  while (!(await holds())) {
    if (performance.now() - start > msMax) assert.fail(`waited ${msMax} ms in vain for ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 25);
    });
  }
  return performance.now() - start;
}

async function call<T>(method: string, url: string, role: string, body?: object): Promise<T> {
  const answer = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${tokenOf(role)}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${url}: ${answer.status} ${text}`);
  return JSON.parse(text) as T;
}

// ---------------------------------------------------------------- what a client sees

interface Seen {
  readonly home: string;
  readonly play: string;
  readonly dns: string;
}

async function seenBy(client: string): Promise<Seen> {
  const answer = await call<{ home: string; files: { urls: { pathwayId: string }[] }[] }>(
    'POST',
    `${STEERING}/v1/play`,
    'playback',
    { titleId: TITLE, clientAddress: client, session: 'session-1' },
  );
  return { home: answer.home, play: answer.files[0].urls[0].pathwayId, dns: await resolve(client) };
}

/** The first address of v.<zone> for the client's /24. */
function resolve(client: string): Promise<string> {
  const query = dnsPacket.encode({
    type: 'query',
    id: randomBytes(2).readUInt16BE(0),
    questions: [{ type: 'A', name: 'v.nightfill.test' }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 1232,
        options: [{ code: 'CLIENT_SUBNET', ip: client, sourcePrefixLength: 24 }],
      } as unknown as dnsPacket.Answer,
    ],
  });
  return new Promise((done, failed) => {
    const socket = createSocket('udp4');
    const timer = setTimeout(() => failed(new Error('no DNS answer within 2 s')), 2000);
    socket.once('message', (message) => {
      clearTimeout(timer);
      socket.close();
      const answer = dnsPacket.decode(message).answers?.[0];
      done(answer?.type === 'A' ? answer.data : '');
    });
    socket.send(query, DNS_PORT, SERVICES);
  });
}

function isSentTo(seen: Seen, site: SiteUnderTest): boolean {
  return seen.home === site.id && seen.play === `box-${site.id}` && seen.dns === site.box;
}

// ---------------------------------------------------------------- routers

function startRouter(site: SiteUnderTest): ChildProcess {
  const file = path.join(directory, `gobgpd-${site.id}.toml`);
  const family = (name: string): string =>
    `[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "${name}"\n`;
  writeFileSync(
    file,
    `[global.config]
as = ${OUR_AS}
router-id = "${site.router}"
port = ${BGP_PORT}
local-address-list = ["${site.router}"]
[[neighbors]]
[neighbors.config]
neighbor-address = "${ISP}"
peer-as = ${ISP_AS}
[neighbors.transport.config]
passive-mode = true
${family('ipv4-unicast')}${family('ipv6-unicast')}
[[bmp-servers]]
[bmp-servers.config]
address = "${site.box}"
port = ${BMP_PORT}
route-monitoring-policy = "pre-policy"
`,
  );
  return run('gobgpd', ['-f', file, '--api-hosts', `${site.router}:50151`]).child;
}

/** ExaBGP reads its orders from a file, line by line. */
function startIsp(): ChildProcess {
  const file = path.join(directory, 'exabgp.conf');
  const neighbour = ({ router }: SiteUnderTest): string => `
neighbor ${router} {
  router-id 127.78.9.1; local-address ${ISP}; local-as ${ISP_AS}; peer-as ${OUR_AS}; hold-time 30; connect ${BGP_PORT};
  family { ipv4 unicast; ipv6 unicast; }
  api { processes [ orders ]; }
}`;
  writeFileSync(
    file,
    `process orders { run /usr/bin/tail -n +1 -f ${commands}; encoder text; }\n${neighbour(A)}${neighbour(B)}\n`,
  );
  return run('exabgp', [file], {
    'exabgp.daemon.user': os.userInfo().username,
    'exabgp.api.cli': 'false',
    'exabgp.api.ack': 'false',
    'exabgp.tcp.attempts': '0',
  }).child;
}

function order(
  site: SiteUnderTest,
  what: 'announce' | 'withdraw',
  prefix: string,
  as = ISP_AS,
): void {
  const nextHop = prefix.includes(':') ? '2001:db8::1' : '192.0.2.1';
  const asPath = as === ISP_AS ? `[ ${ISP_AS} ]` : `[ ${ISP_AS} ${as} ]`;
  appendFileSync(
    commands,
    `neighbor ${site.router} ${what} route ${prefix} next-hop ${nextHop} as-path ${asPath}\n`,
  );
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = new Promise((done) => {
    child.once('close', done);
  });
  child.kill('SIGKILL');
  await gone;
}

// ---------------------------------------------------------------- the CDN

async function startCdn(): Promise<void> {
  const keysDir = path.join(directory, 'keys');
  const keys = run(PROGRAM, ['keys', 'init', keysDir]);
  await until('the keys', () => keys.child.exitCode !== null);
  const rootFingerprint = readFileSync(path.join(keysDir, 'root.fingerprint'), 'utf8').trim();
  const serviceTokens = ROLES.map((role) => ({
    name: role,
    role,
    sha256: createHash('sha256').update(tokenOf(role)).digest('base64url'),
  }));
  const at = (address: string, port: number): object => ({ address, port });
  const nowhere = 'http://127.78.0.2:1';
  await daemon('control-plane', {
    listen: at(SERVICES, 26_500),
    publicUrl: CONTROL_PLANE,
    stateDir: path.join(directory, 'control-plane'),
    keysDir,
    serviceTokens,
    origin: { baseUrl: nowhere, adminUrl: nowhere },
    playbackUrl: nowhere,
    steeringUrl: STEERING,
    planning: {},
  });
  for (const { id } of [A, B]) {
    await call('POST', `${CONTROL_PLANE}/v1/sites`, 'operator', {
      siteId: id,
      name: id,
      country: 'FR',
      fillWindow: { startLocal: '00:00', hours: 24, timeZone: 'UTC' },
      clusters: [{ clusterId: id, prefixes: [] }],
      routes: { originAs: [ISP_AS], peerRoutesMax: 100 },
    });
  }
  await call('POST', `${CONTROL_PLANE}/v1/titles`, 'publish', {
    titleId: TITLE,
    version: 1,
    kind: 'opaque',
    name: 'One',
    durationSeconds: 60,
    class: 'catalogue',
    availability: [{ countries: ['*'] }],
    files: [{ fileId: FILE, sizeBytes: 1_000_000, kind: 'opaque', protection: 'none' }],
  });
  await daemon('steering', {
    listen: at(SERVICES, 26_502),
    publicUrl: STEERING,
    stateDir: path.join(directory, 'steering'),
    controlPlaneUrl: CONTROL_PLANE,
    controlPlaneToken: tokenOf('steering'),
    rootFingerprint,
    tokenKeyFile: path.join(keysDir, 'token.jwk'),
    serviceTokens,
    dns: { address: SERVICES, port: DNS_PORT, zone: 'nightfill.test' },
  });
  await Promise.all([A, B].map((site) => startBox(site, at)));
}

async function startBox(
  { id, box }: SiteUnderTest,
  at: (address: string, port: number) => object,
): Promise<void> {
  const { token } = await call<{ token: string }>(
    'POST',
    `${CONTROL_PLANE}/v1/enrolment-tokens`,
    'operator',
    {
      applianceId: `box-${id}`,
      siteId: id,
      clusterId: id,
    },
  );
  const tokenFile = path.join(directory, `${id}.token`);
  writeFileSync(tokenFile, token);
  await daemon(`box-${id}`, {
    applianceId: `box-${id}`,
    listen: at(box, 26_580),
    publicBaseUrl: `http://${box}:26580`,
    admin: at(box, 26_503),
    stateDir: path.join(directory, `box-${id}`),
    volumes: [{ path: path.join(directory, `box-${id}`, 'volume'), capacityBytes: 64 * 1024 ** 2 }],
    enrolmentTokenFile: tokenFile,
    applianceClass: 'flash',
    servingBps: 1_000_000_000,
    bmp: { listen: at(box, BMP_PORT), staleSeconds: 30 },
  });
}

// ---------------------------------------------------------------- the tests

test(
  'what an ISP announces and withdraws moves its clients, and nothing else does',
  { skip, timeout: 120_000 },
  async (t) => {
    writeFileSync(commands, '');
    await startCdn();
    const routerA = startRouter(A);
    startRouter(B);
    let isp = startIsp();
    const follows = async (
      what: string,
      client: string,
      holds: (seen: Seen) => boolean,
      msMax = FOLLOW_MS_MAX,
    ): Promise<void> => {
      const ms = await until(what, async () => holds(await seenBy(client)), msMax);
      t.diagnostic(`${what}: ${Math.round(ms)} ms`);
    };

    await t.test(
      'an announcement brings its clients home, in DNS and play, within 5 s',
      async () => {
        order(B, 'announce', '23.40.0.0/16');
        // The first one waits for the BGP sessions to come up.
        await follows('the first prefix', '23.40.1.1', (seen) => isSentTo(seen, B), 40_000);
        order(A, 'announce', '23.10.0.0/16');
        await follows('an announcement', '23.10.1.1', (seen) => isSentTo(seen, A));
        order(B, 'announce', '2a00:1234::/32');
        await follows('an announcement of IPv6', '2a00:1234:5::1', ({ home }) => home === B.id);
      },
    );

    await t.test('a withdrawal sends them away again within 5 s', async () => {
      order(A, 'announce', '23.11.0.0/16');
      await follows('an announcement', '23.11.1.1', (seen) => isSentTo(seen, A));
      order(A, 'withdraw', '23.11.0.0/16');
      await follows('a withdrawal', '23.11.1.1', ({ home }) => home === 'unknown');
      assert.ok(isSentTo(await seenBy('23.10.1.1'), A), 'the others stay');
    });

    await t.test(
      'site A announces site B’s /24 and the same /16: B’s clients stay, the routes are quarantined and alarmed',
      async () => {
        order(A, 'announce', '23.40.7.0/24');
        order(A, 'announce', '23.40.0.0/16');
        order(A, 'announce', '45.0.0.0/16', 64_999);
        order(A, 'announce', '10.0.0.0/8');
        interface View {
          quarantined: { siteId: string; why: string; route: { prefix: string } }[];
        }
        const reasons = new Map<string, string>();
        await until('four quarantined routes', async () => {
          const view = await call<View>('GET', `${CONTROL_PLANE}/v1/routes`, 'operator');
          for (const { route, siteId, why } of view.quarantined)
            reasons.set(`${siteId} ${route.prefix}`, why);
          return view.quarantined.length === 4;
        });
        assert.deepEqual(Object.fromEntries(reasons), {
          'aix 23.40.7.0/24': 'prefix-of-other-site',
          'aix 23.40.0.0/16': 'prefix-of-other-site',
          'aix 45.0.0.0/16': 'origin-not-allowed',
          'aix 10.0.0.0/8': 'bogon',
        });
        assert.ok(isSentTo(await seenBy('23.40.7.1'), B));
        assert.equal((await seenBy('45.0.1.1')).home, 'unknown');
        const { alarms } = await call<{ alarms: { what: string }[] }>(
          'GET',
          `${CONTROL_PLANE}/v1/fleet/view`,
          'operator',
        );
        assert.ok(
          alarms.some(({ what }) =>
            what.includes('quarantined and steer nobody, prefix-of-other-site'),
          ),
        );
      },
    );

    await t.test(
      'neither the ISP’s router nor the monitoring one going away withdraws a healthy site',
      async () => {
        await kill(isp);
        await kill(routerA);
        for (let look = 0; look < 10; look++) {
          assert.ok(isSentTo(await seenBy('23.10.1.1'), A), `look ${look}`);
          assert.ok(isSentTo(await seenBy('23.40.1.1'), B), `look ${look}`);
          await new Promise((done) => {
            setTimeout(done, 200);
          });
        }
        startRouter(A);
        writeFileSync(commands, ''); // of what was ordered before the router forgot all
        order(A, 'announce', '23.10.0.0/16');
        order(B, 'announce', '23.40.0.0/16');
        isp = startIsp();
        order(A, 'announce', '23.12.0.0/16');
        await follows('the sessions to be back', '23.12.1.1', (seen) => isSentTo(seen, A), 40_000);
        assert.ok(isSentTo(await seenBy('23.10.1.1'), A));
      },
    );
  },
);
