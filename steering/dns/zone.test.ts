import assert from 'node:assert/strict';
import { test } from 'node:test';
import dnsPacket from 'dns-packet';
import { Packet } from 'dns2';
import { parseAddress } from '#base/address.ts';
import type { World } from '../candidates.ts';
import { exampleWorld } from '../example-fleet.ts';
import { Responder } from './responder.ts';
import { createZone } from './zone.ts';

const ZONE = createZone({
  zone: 'cdn.test',
  nameServers: [{ name: 'a.ns', addresses: ['127.77.0.5', '2001:db8::53'] }],
  steerAddresses: ['127.77.0.6'],
});
const WORLD = exampleWorld();
const ELSEWHERE = '192.0.2.1';

interface Asked {
  readonly rcode: number;
  readonly flags: { readonly aa: boolean; readonly tc: boolean; readonly rd: boolean };
  readonly answers: readonly { name: string; type: string; ttl: number; data: unknown }[];
  readonly authorities: readonly { name: string; type: string; ttl: number }[];
  readonly scope: number | null;
  readonly raw: Buffer;
}

/** Asks with dns-packet, reads with dns-packet, and lets dns2 read the same bytes. */
function ask(
  name: string,
  type: string,
  options: { subnet?: string; resolver?: string; world?: World | null; class?: string } = {},
): Asked {
  const additionals: unknown[] = [];
  if (options.subnet !== undefined) {
    const [ip, bits] = options.subnet.split('/');
    additionals.push({
      type: 'OPT',
      name: '.',
      udpPayloadSize: 1232,
      flags: 0,
      options: [{ code: 'CLIENT_SUBNET', ip, sourcePrefixLength: Number(bits) }],
    });
  }
  const query = dnsPacket.encode({
    type: 'query',
    id: 77,
    flags: 0,
    questions: [{ type, name, class: options.class ?? 'IN' }],
    additionals,
  } as unknown as dnsPacket.Packet);
  const resolver = parseAddress(options.resolver ?? ELSEWHERE)!;
  const world = options.world === undefined ? WORLD : options.world;
  const responder = new Responder({ zone: ZONE, cookies: null, rateLimit: null });
  const asking = { message: query, resolver, transport: 'udp', wallMs: 0, monotonicMs: 0 } as const;
  const raw = Buffer.from(responder.respond(world, asking)!);
  const packet = dnsPacket.decode(raw) as unknown as {
    flag_aa: boolean;
    flag_tc: boolean;
    flag_rd: boolean;
    answers: Asked['answers'];
    authorities: Asked['authorities'];
    additionals: { type: string; options?: { type: string; scopePrefixLength?: number }[] }[];
  };
  const other = Packet.parse(raw);
  assert.equal(other.answers.length, packet.answers.length, 'both decoders see the same answers');
  const opt = packet.additionals.find((record) => record.type === 'OPT');
  const subnet = opt?.options?.find((option) => option.type === 'CLIENT_SUBNET');
  return {
    rcode: raw[3] & 0xf,
    flags: { aa: packet.flag_aa, tc: packet.flag_tc, rd: packet.flag_rd },
    answers: packet.answers,
    authorities: packet.authorities,
    scope: subnet?.scopePrefixLength ?? null,
    raw,
  };
}

function addresses(asked: Asked): unknown[] {
  return asked.answers.map(({ data }) => data);
}

test('v answers the boxes of the site of the client’s prefix and no others, with the scope within which that holds', () => {
  const lyon = ask('v.cdn.test', 'A', { subnet: '10.1.2.0/24' });
  assert.equal(lyon.rcode, 0);
  assert.equal(lyon.flags.aa, true);
  assert.deepEqual(addresses(lyon).map(String).sort(), ['127.77.1.1', '127.77.1.2']);
  assert.equal(lyon.scope, 16);
  for (const { ttl } of lyon.answers) assert.equal(ttl, 20);
  const oslo = ask('v.cdn.test', 'A', { subnet: '10.3.0.0/16' });
  assert.equal(addresses(oslo)[0], '127.77.3.1');
});

test('without a client subnet the resolver’s own address decides and no subnet comes back', () => {
  const paris = ask('v.cdn.test', 'A', { resolver: '10.2.7.7' });
  assert.equal(addresses(paris)[0], '127.77.2.1');
  assert.equal(paris.scope, null);
});

test('a client that hides behind /0 gets what its resolver would get, good for everybody', () => {
  const hidden = ask('v.cdn.test', 'A', { subnet: '0.0.0.0/0', resolver: '10.2.7.7' });
  assert.equal(addresses(hidden)[0], '127.77.2.1');
  assert.equal(hidden.scope, 0);
});

test('a source shorter than the table asks for more bits', () => {
  const wide = ask('v.cdn.test', 'A', { subnet: '10.0.0.0/8' });
  assert.ok(wide.scope !== null && wide.scope > 8 && wide.scope <= 24);
});

test('IPv6 clients are placed by their prefix; the addresses are of the family that was asked for', () => {
  const lyon = ask('v.cdn.test', 'A', { subnet: '2001:db8:1::/48' });
  assert.ok(String(addresses(lyon)[0]).startsWith('127.77.1.'));
  assert.equal(lyon.scope, 48);
  const none = ask('v.cdn.test', 'AAAA', { subnet: '2001:db8:1::/48' });
  assert.equal(none.rcode, 0);
  assert.deepEqual(none.answers, []);
  assert.equal(none.scope, 0);
  const world = exampleWorld({ appliances: { 'lyon-b': { baseUrl: 'http://[2001:db8::b]:80' } } });
  const some = ask('v.cdn.test', 'AAAA', { subnet: '2001:db8:1::/48', world });
  assert.deepEqual(addresses(some), ['2001:db8::b']);
});

test('health changes the answer, never the scope', () => {
  const sick = exampleWorld({}, { 'lyon-a': 'unreachable', 'lyon-b': 'unreachable' });
  const asked = ask('v.cdn.test', 'A', { subnet: '10.1.2.0/24', world: sick });
  assert.equal(addresses(asked)[0], '127.77.2.1');
  assert.equal(asked.scope, 16);
  const all = {
    'lyon-a': 'unreachable',
    'lyon-b': 'unreachable',
    'paris-a': 'unreachable',
    'oslo-a': 'unreachable',
  } as const;
  const dead = ask('v.cdn.test', 'A', { subnet: '10.1.2.0/24', world: exampleWorld({}, all) });
  assert.deepEqual(addresses(dead), ['127.77.0.1'], 'the origin, before nothing');
});

test('names and what they answer: table', () => {
  const cases: readonly [string, string, number, readonly unknown[], number | null][] = [
    ['lyon-a.oca.cdn.test', 'A', 0, ['127.77.1.1'], 300],
    ['lyon-a.oca.cdn.test', 'AAAA', 0, [], null],
    ['nobody.oca.cdn.test', 'A', 3, [], null],
    ['oca.cdn.test', 'A', 0, [], null],
    ['steer.cdn.test', 'A', 0, ['127.77.0.6'], 20],
    ['a.ns.cdn.test', 'AAAA', 0, ['2001:db8::53'], 3600],
    ['ns.cdn.test', 'A', 0, [], null],
    ['cdn.test', 'A', 0, [], null],
    ['cdn.test', 'NS', 0, ['a.ns.cdn.test'], 86_400],
    ['x.v.cdn.test', 'A', 3, [], null],
    ['nope.cdn.test', 'A', 3, [], null],
    ['example.org', 'A', 5, [], null],
    ['test', 'A', 5, [], null],
    ['cdn.test', 'AXFR', 5, [], null],
  ];
  for (const [name, type, rcode, data, ttl] of cases) {
    const asked = ask(name, type);
    assert.equal(asked.rcode, rcode, `${name} ${type}`);
    assert.deepEqual(addresses(asked), data, `${name} ${type}`);
    if (ttl !== null) assert.equal(asked.answers[0].ttl, ttl, name);
    const isNegative = rcode === 3 || (rcode === 0 && data.length === 0);
    const expected = isNegative ? [{ name: 'cdn.test', ttl: 30 }] : [];
    assert.deepEqual(
      asked.authorities.map(({ name, ttl }) => ({ name, ttl })),
      expected,
      `${name} ${type}: the SOA says how long nothing lasts`,
    );
  }
});

test('the apex has an SOA whose serial is the snapshot’s version', () => {
  const [soa] = ask('cdn.test', 'SOA').answers as unknown as [
    { data: { serial: number; minimum: number; mname: string } },
  ];
  assert.deepEqual([soa.data.serial, soa.data.minimum, soa.data.mname], [7, 30, 'a.ns.cdn.test']);
});

test('upper and lower case of the question come back as they were asked', () => {
  const asked = ask('v.CdN.tEsT', 'A', { resolver: '10.2.0.1' });
  assert.ok(asked.raw.includes(Buffer.from('\x01v\x03CdN\x04tEsT', 'latin1')));
  assert.equal(asked.answers[0].name, 'v.CdN.tEsT');
  assert.equal(ask('LYON-A.OCA.CDN.TEST', 'A').answers.length, 1);
});

test('ANY is answered with one HINFO, class CH and other operations are refused', () => {
  const any = ask('v.cdn.test', 'ANY');
  assert.deepEqual(
    any.answers.map(({ type }) => type),
    ['HINFO'],
  );
  assert.equal(ask('nope.cdn.test', 'ANY').rcode, 3);
  assert.equal(ask('cdn.test', 'A', { class: 'CH' }).rcode, 5);
});

test('every query with a client subnet gets one back, scope 0 where the client does not matter', () => {
  for (const name of [
    'cdn.test',
    'steer.cdn.test',
    'lyon-a.oca.cdn.test',
    'nope.cdn.test',
    'example.org',
  ]) {
    assert.equal(ask(name, 'A', { subnet: '10.1.2.0/24' }).scope, 0, name);
  }
});

test('before the first snapshot names that depend on it are not ready, the others answer', () => {
  assert.equal(ask('v.cdn.test', 'A', { world: null }).rcode, 2);
  assert.equal(ask('lyon-a.oca.cdn.test', 'A', { world: null }).rcode, 2);
  assert.equal(ask('cdn.test', 'SOA', { world: null }).rcode, 0);
  assert.equal(ask('steer.cdn.test', 'A', { world: null }).rcode, 0);
});
