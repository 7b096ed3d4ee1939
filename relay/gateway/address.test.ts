import assert from 'node:assert/strict'
import { it } from 'node:test'
import { householdOf } from './address.ts'

it('a household is an IPv4 address or an IPv6 network, however it is written', () => {
  const households: [string, string[]][] = [
    ['192.0.2.1', ['192.0.2.1', '::ffff:192.0.2.1', '::FFFF:c000:201', '0:0:0:0:0:ffff:192.0.2.1']],
    ['2001:db8:1:2::/64', ['2001:db8:1:2::', '2001:db8:1:2::1', '2001:DB8:1:0002:a:b:c:d', '2001:db8:1:2:3::4']],
    ['2001:db8:1:3::/64', ['2001:db8:1:3::1']],
    ['2001:db8:0:0::/64', ['2001:db8::', '2001:db8::1', '2001:db8::1:2:3:4', '2001:db8:0:0:1::']],
    ['1:0:0:4::/64', ['1::4:5:6:7:8', '1:0:0:4::']],
    ['0:0:0:4::/64', ['::4:5:6:7:8']],
    ['64:ff9b:0:0::/64', ['64:ff9b::192.0.2.1']],
    ['0:0:0:0::/64', ['::', '::2', '::192.0.2.1']],
    ['fe80:0:0:0::/64', ['fe80::1', 'fe80::1%eth0']],
    ['::1', ['::1', '0:0:0:0:0:0:0:1']],
    ['127.0.0.1', ['127.0.0.1', '::ffff:127.0.0.1']],
    ['unknown', ['unknown']],
    ['', ['']],
    ['[2001:db8::1]:443', ['[2001:db8::1]:443']],
  ]
  for (const [household, addresses] of households)
    for (const address of addresses) assert.equal(householdOf(address), household, address)
})
