// What a device may not say: each ends its own session with a typed refusal, and everybody else goes on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { convIdBytes, type DeviceFrame, positionOf } from '#protocol'
import { makePair, openBench, type Pair, submissionOf } from './bench.ts'

const pair = makePair()
/** Two people of elsewhere: their conversation is none of this device's business. */
const strangers = makePair()

const nameOf = ({ id, genesis }: Pair, more: Partial<DeviceFrame['names'][number]> = {}) =>
  ({ ref: 1, convId: convIdBytes(id), genesis, homeRecords: [], ...more }) as DeviceFrame['names'][number]
const mark = (more: object) => ({
  conv: 1,
  kind: 2,
  member: pair.host.member,
  device: 1,
  version: BigInt(positionOf(1, 1)),
  body: new Uint8Array(1),
  ...more,
})

const REFUSED: Record<string, { code: string; frame: Partial<DeviceFrame>; named?: boolean }> = {
  'a name of a conversation of strangers': { code: 'not_member', frame: { names: [nameOf(strangers)] } },
  'a name that is not the next': { code: 'bad_name', frame: { names: [nameOf(pair, { ref: 2 })] } },
  'a submission to a number that names nothing': {
    code: 'bad_name',
    frame: { submissions: [submissionOf(strangers, 1, { conv: 1 })] },
  },
  'a cursor of a number that names nothing': {
    code: 'bad_name',
    frame: { cursors: [{ conv: 7, epoch: 1, n: 1 }] as never },
  },
  'a pull of a number that names nothing': {
    code: 'bad_name',
    frame: { pulls: [{ conv: 7, epoch: 1, n: 1, maxBytes: 1 }] as never },
  },
  'a read mark of somebody else': {
    code: 'unauthorized',
    named: true,
    frame: { registers: [mark({ member: pair.other.member })] as never },
  },
  'a read mark of another device': {
    code: 'unauthorized',
    named: true,
    frame: { registers: [mark({ device: 2 })] as never },
  },
  'a delivered mark, which is its home to keep': {
    code: 'malformed',
    named: true,
    frame: { registers: [mark({ kind: 1, device: 0, body: new Uint8Array(0) })] as never },
  },
}

for (const [what, { code, frame, named }] of Object.entries(REFUSED)) {
  test(`${what} is refused, and everybody else goes on`, async () => {
    const bench = await openBench(pair.host.region, [pair.host, pair.other, strangers.host, strangers.other])
    const bad = bench.session(pair.host, 'bad')
    if (named) bad.frame({ names: [nameOf(pair)] })
    await bench.settle()
    bad.frame(frame)
    await bench.settle()
    assert.equal(typeof bad.closed === 'object' ? bad.closed.code : bad.closed, code)
    assert.deepEqual(bench.cut, [], 'no link is cut for it')

    const good = bench.session(pair.host, 'good')
    good.frame({ names: [nameOf(pair)], submissions: [submissionOf(pair, 1, { conv: 1 })] })
    await bench.settle()
    const numbered = bench.out.some(
      (o) => o.to === 'device' && o.frame.verdicts.some((v) => v.outcome.case === 'sequenced'),
    )
    assert.ok(numbered, 'the next session of the same device works')
    assert.equal(good.closed, undefined)
  })
}

test('a manifest without the device ends its session', async () => {
  const bench = await openBench(pair.host.region, [pair.host, pair.other])
  const session = bench.session(pair.host)
  await bench.settle()
  bench.relay.manifestChanged({ ...pair.host.manifest, version: 2, devices: [] })
  assert.equal(typeof session.closed === 'object' ? session.closed.code : session.closed, 'unsigned_device')
})
