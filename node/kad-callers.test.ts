import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '#protocol'
import { createKadCallers } from './kad-callers.ts'
import { KAD_GETS_BURST, KAD_GETS_PER_SECOND, KAD_PUTS_BURST, KAD_PUTS_PER_SECOND } from './limits.ts'

type Handler = (stream: object, connection: { remotePeer: string }) => Promise<void>
type Callers = ReturnType<typeof createKadCallers>

function served(callers: Callers, handler: Handler): Handler {
  let inner: Handler | undefined
  const registrar = {
    handle: async (_protocol: string, given: Handler) => {
      inner = given
    },
  }
  void callers.registrar(registrar as never).handle('/x', handler as never)
  return inner!
}

const kinds = [
  { does: 'puts', ask: 'ensureMayPut', burst: KAD_PUTS_BURST, perSecond: KAD_PUTS_PER_SECOND },
  { does: 'asks for', ask: 'ensureMayGet', burst: KAD_GETS_BURST, perSecond: KAD_GETS_PER_SECOND },
] as const
for (const { does, ask, burst, perSecond } of kinds)
  test(`each peer ${does} as many records as its rate allows; who asks by itself is not counted`, async () => {
    const clock = new SimulatedClock(0)
    const callers = createKadCallers(clock)
    let taken: string[] = []
    const handle = served(callers, async (_stream, { remotePeer }) => {
      await Promise.resolve()
      callers[ask]()
      taken.push(remotePeer)
    })
    const many = async (peer: string, count: number): Promise<number> => {
      taken = []
      const all = Array.from({ length: count }, () => handle({}, { remotePeer: peer }))
      for (const { reason } of (await Promise.allSettled(all)).filter((it) => it.status === 'rejected'))
        assert.equal(reason.code, 'overloaded')
      return taken.filter((name) => name === peer).length
    }
    assert.equal(await many('loud', burst + 100), burst)
    assert.equal(await many('other', 10), 10)
    clock.advanceTo(1_000)
    assert.equal(await many('loud', burst), perSecond)
    for (let i = 0; i < 2 * burst; i++) callers[ask]()
  })
