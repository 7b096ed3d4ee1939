import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SIGN_INS_PENDING_MAX, SOCKETS_MAX, SOCKETS_PER_ADDRESS_MAX } from '../limits.ts'
import { createDoors } from './doors.ts'

describe('the doors', () => {
  it('count per address, but for loopback, and let others in when one leaves', () => {
    const doors = createDoors()
    const many = (address: string, count: number) =>
      Array.from({ length: count }, () => doors.enter(address)?.code).filter((code) => code !== undefined)
    assert.deepEqual(many('192.0.2.1', SOCKETS_PER_ADDRESS_MAX), [])
    assert.deepEqual(many('192.0.2.1', 1), ['overloaded'])
    assert.deepEqual(many('192.0.2.2', 1), [])
    assert.deepEqual(many('127.0.0.1', SOCKETS_PER_ADDRESS_MAX + 1), [])
    doors.leave('192.0.2.1', false)
    assert.deepEqual(many('192.0.2.1', 1), [])
  })

  it('bound those who have not signed in, and all together', () => {
    const doors = createDoors()
    for (let i = 0; i < SIGN_INS_PENDING_MAX; i++) assert.equal(doors.enter('::1'), undefined)
    assert.equal(doors.enter('192.0.2.1')?.code, 'overloaded')
    doors.signedIn()
    for (let open = SIGN_INS_PENDING_MAX; open < SOCKETS_MAX; open++) {
      assert.equal(doors.enter('::1'), undefined)
      doors.signedIn()
    }
    assert.equal(doors.open(), SOCKETS_MAX)
    assert.equal(doors.enter('192.0.2.1')?.code, 'overloaded')
    doors.leave('::1', true)
    assert.equal(doors.enter('192.0.2.1'), undefined)
  })
})
