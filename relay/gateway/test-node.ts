// For tests: a client port above real accounts and prekeys, with rules that only record.
import { type Clock, type DeviceFrame, ParleyError, systemClock, systemRandom } from '#protocol'
import { createAccounts } from '../accounts/accounts.ts'
import { createPrekeys } from '../accounts/prekeys.ts'
import { accountRows } from '../accounts/rows.ts'
import { makeStore, type TestRegion } from '../fixtures.ts'
import type { DeviceSession, Relay } from '../rules/ports.ts'
import { homeFrame } from './connection.ts'
import { openGateway } from './gateway.ts'
import type { GatewayOptions } from './parts.ts'

/** Rules that only record what they are told; a ping is answered so that both directions are seen. */
function recordingRelay() {
  const sessions = new Map<string, DeviceSession>()
  const frames: DeviceFrame[] = []
  const relay: Relay = {
    openSession: (session) => void sessions.set(session.id, session),
    closeSession: (id) => void sessions.delete(id),
    deviceFrame(id, frame) {
      if (frame.cursors.length > 0) throw new ParleyError('bad_name', 'a conversation that was not named')
      frames.push(frame)
      if (frame.ping > 0) sessions.get(id)?.send(homeFrame({ pong: frame.ping }))
    },
    linkUp: () => undefined,
    linkDown: () => undefined,
    items: () => undefined,
    tick: () => undefined,
    manifestChanged: () => undefined,
    homeChanged: () => undefined,
  }
  return { relay, sessions, frames }
}

/** Counts faults of ours, which no test may cause. */
function faultEvents() {
  const faults: unknown[] = []
  const nothing = () => undefined
  const events = {
    socketRefused: nothing,
    signedIn: nothing,
    signInRefused: nothing,
    sessionEnded: nothing,
    answered: nothing,
    fault: (_: string, error: unknown) => faults.push(error),
  }
  return { faults, events }
}

/** The system's clock, moved ahead at will. */
function movedClock() {
  let aheadMs = 0
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + aheadMs,
    monotonic: () => systemClock.monotonic() + aheadMs,
  }
  const move = (ms: number): void => {
    aheadMs += ms
  }
  return { clock, move }
}

export async function startNode(
  region: TestRegion,
  urls: readonly string[] = [],
  tls: GatewayOptions['tls'] = undefined,
  trustProxy = false,
) {
  const { clock, move } = movedClock()
  const store = await makeStore().open()
  const rows = accountRows(store)
  const accounts = createAccounts({ rows, clock, keys: region, policy: () => undefined, onChange: () => undefined })
  const prekeys = createPrekeys({
    rows,
    accounts,
    clock,
    region: region.regionId,
    onLow: () => undefined,
    onGiven: () => undefined,
  })
  const rules = recordingRelay()
  const { faults, events } = faultEvents()
  const gateway = await openGateway(
    {
      identity: {
        regionId: region.regionId,
        regionName: 'north',
        nodeKey: region.nodeKey,
        certificate: region.certificate,
        bootId: systemRandom.bytes(16),
      },
      clock,
      random: systemRandom,
      events,
      accounts,
      prekeys,
      people: {
        find: (user) => accounts.find(user),
        bundle: (target, device, requester) =>
          prekeys.bundle(target, device, { user: requester, region: region.regionId }),
      },
      relay: () => rules.relay,
      readEntries: async () => {
        throw new ParleyError('not_member', 'not a member')
      },
      regionRecord: () => undefined,
      metrics: async () => '# none\n',
      trouble: () => undefined,
    },
    {
      listen: { host: '127.0.0.1', port: 0 },
      urls,
      allowedOrigins: ['https://allowed.example'],
      trustProxy,
      tls,
    },
  )
  const url = gateway.listening
  return {
    url,
    gateway,
    accounts,
    prekeys,
    rules,
    faults,
    store,
    ahead(ms: number) {
      move(ms)
      gateway.sessions.sweep()
    },
  }
}
