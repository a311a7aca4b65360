import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress } from '#base/address.ts';
import { openCountryTable, withCountry } from './country-table.ts';
import { answerQuery, createZone } from './dns/zone.ts';
import { readQuery } from './dns/message.ts';
import { exampleCountries } from './example-countries.ts';
import { exampleWorld } from './example-fleet.ts';

test('an address has the country of its network and the bits within which that holds', () => {
  const table = openCountryTable(exampleCountries({ '81.0.0.0/8': 'NO', '82.64.0.0/12': 'FR' }));
  const look = (text: string) => table.look(parseAddress(text)!);
  assert.deepEqual(look('81.2.69.142'), { country: 'NO', bits: 8 });
  assert.deepEqual(look('82.70.1.1'), { country: 'FR', bits: 12 });
  const { country, bits } = look('82.0.0.1');
  assert.equal(country, null);
  assert.ok(bits >= 9 && bits <= 12, `nobody within /${bits}`);
  assert.equal(look('2001:db8::1').country, null, 'a table of IPv4 knows no IPv6');
});

test('what is no database is refused when it is opened', () => {
  assert.throws(() => openCountryTable(Buffer.from('no database at all')));
});

test('a client in no prefix is placed by its country; one in a prefix, or whose country playback tells, is not', () => {
  const { fleet } = exampleWorld();
  const table = openCountryTable(exampleCountries({ '81.0.0.0/8': 'NO', '10.0.0.0/8': 'NO' }));
  const countryOf = (clientAddress: string, country?: string) =>
    withCountry(
      fleet,
      {
        titleId: 'film-1',
        session: 's',
        clientAddress,
        ...(country === undefined ? {} : { country }),
      },
      table,
    ).country;
  assert.equal(countryOf('81.2.69.142'), 'NO');
  assert.equal(countryOf('10.1.0.1'), undefined, 'Lyon’s prefix tells');
  assert.equal(countryOf('81.2.69.142', 'FR'), 'FR');
  assert.equal(countryOf('83.0.0.1'), undefined);
});

test('DNS sends a client in no prefix to a box of its country, with a scope that no other answer overlaps', () => {
  const options = { zone: 'cdn.test', nameServers: [], steerAddresses: [] };
  const table = openCountryTable(exampleCountries({ '81.0.0.0/8': 'NO', '82.64.0.0/12': 'FR' }));
  const ask = (countries: typeof table | null, subnet: readonly number[]) => {
    const name = Buffer.from('\x01v\x03cdn\x04test\x00', 'latin1');
    const header = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    const option = [0, 8, 0, 7, 0, 1, 24, 0, ...subnet];
    const opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, option.length, ...option];
    const reading = readQuery(Buffer.from([...header, ...name, 0, 1, 0, 1, ...opt]));
    assert.ok(reading.kind === 'query');
    const resolver = parseAddress('192.0.2.1')!;
    const answer = answerQuery(
      createZone(options, countries),
      exampleWorld(),
      reading.query,
      resolver,
    );
    return { first: answer.answers[0].data.join('.'), scope: answer.scopeBits };
  };
  assert.deepEqual(ask(table, [81, 2, 69]), { first: '127.77.3.1', scope: 8 });
  assert.match(ask(table, [82, 70, 1]).first, /^127\.77\.[12]\./);
  assert.equal(ask(table, [82, 70, 1]).scope, 12);
  assert.ok(ask(table, [10, 1, 0]).scope! >= 16, 'inside a prefix it is the prefix that tells');
});
