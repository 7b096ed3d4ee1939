import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SIGN_INS_PENDING_MAX, SOCKETS_MAX, SOCKETS_PER_ADDRESS_MAX } from '../limits.ts'
import { createDoors } from './doors.ts'

function opened() {
  const doors = createDoors()
  const dropped: object[] = []
  /** What comes in drops out by itself when it is told to, as a socket does. */
  const enter = (address: string, socket: object = {}) => {
    const refused = doors.enter(address)
    if (refused) return refused
    doors.awaits(socket, () => {
      dropped.push(socket)
      doors.leave(address, socket)
    })
    return undefined
  }
  return { doors, dropped, enter }
}

describe('the doors', () => {
  it('count per address, but for loopback, and let others in when one leaves', () => {
    const { doors, enter } = opened()
    const many = (address: string, count: number) =>
      Array.from({ length: count }, () => enter(address)?.code).filter((code) => code !== undefined)
    const first = {}
    assert.equal(enter('192.0.2.1', first), undefined)
    assert.deepEqual(many('192.0.2.1', SOCKETS_PER_ADDRESS_MAX - 1), [])
    assert.deepEqual(many('192.0.2.1', 1), ['overloaded'])
    assert.deepEqual(many('192.0.2.2', 1), [])
    assert.deepEqual(many('127.0.0.1', SOCKETS_PER_ADDRESS_MAX + 1), [])
    doors.leave('192.0.2.1', first)
    assert.deepEqual(many('192.0.2.1', 1), [])
  })

  it('count an IPv6 network as one address, for all that enters and leaves', () => {
    const { doors, enter } = opened()
    const first = {}
    assert.equal(enter('2001:db8:1:2::', first), undefined)
    for (let i = 1; i < SOCKETS_PER_ADDRESS_MAX; i++) assert.equal(enter(`2001:db8:1:2::${i}`), undefined)
    assert.equal(enter('2001:db8:1:2:a:b:c:d')?.code, 'overloaded')
    assert.equal(enter('2001:db8:1:3::1'), undefined)
    for (let i = 0; i <= SOCKETS_PER_ADDRESS_MAX; i++) assert.equal(enter('::1'), undefined)
    doors.leave('2001:db8:1:2::', first)
    assert.equal(enter('2001:db8:1:2:a:b:c:d'), undefined)
  })

  it('of those that are awaited the one that is late longest goes when there are too many, and nobody who was heard', () => {
    const { doors, dropped, enter } = opened()
    const sockets = Array.from({ length: SIGN_INS_PENDING_MAX }, () => ({}))
    for (const socket of sockets) assert.equal(enter('::1', socket), undefined)
    doors.heard(sockets[0]!)
    assert.equal(enter('::1'), undefined)
    assert.deepEqual(dropped, [])
    // Something of it came, and now the next thing is awaited: it is not late any more.
    doors.heard(sockets[1]!)
    doors.awaits(sockets[1]!, () => assert.fail('it is awaited since a moment ago'))
    assert.equal(enter('192.0.2.1'), undefined)
    assert.equal(dropped.length, 1)
    assert.equal(dropped[0], sockets[2])
    assert.equal(doors.open(), SIGN_INS_PENDING_MAX + 1)
  })

  it('bound all together', () => {
    const { doors, enter } = opened()
    const last = {}
    for (let open = 0; open < SOCKETS_MAX; open++) {
      const socket = open === 0 ? last : {}
      assert.equal(enter('::1', socket), undefined)
      doors.heard(socket)
    }
    assert.equal(doors.open(), SOCKETS_MAX)
    assert.equal(enter('192.0.2.1')?.code, 'overloaded')
    doors.leave('::1', last)
    assert.equal(enter('192.0.2.1'), undefined)
  })
})
