import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MESH_LOUD_SHARE, MESH_PIECE_MIN_BYTES, MESH_TURN_MS, MESH_WAITING_MAX_BYTES } from './limits.ts'
import { createMeshTurns, type Speaker } from './mesh-turns.ts'

type Peer = Speaker & { readonly name: string; held: boolean }

const sum = (all: readonly number[]): number => all.reduce((total, it) => total + it, 0)

/** A loop by hand: what a message sets off takes its time after the call that handed it over. */
function room() {
  let now = 0
  const heard: string[] = []
  const passes: (() => void)[] = []
  const settling: (() => void)[] = []
  let setOffMs = 0
  const turns = createMeshTurns({
    clock: { monotonic: () => now },
    nextPass: (callback) => void passes.push(callback),
    whenSettled: (callback) => void settling.push(callback),
  })
  const settle = (): string[] => {
    for (let next = settling.shift(); next; next = settling.shift()) {
      now += setOffMs
      setOffMs = 0
      next()
    }
    return heard.splice(0)
  }
  return {
    settle,
    isQuiet: () => passes.length === 0,
    wait: (ms: number) => {
      now += ms
    },
    peer(name: string): Peer {
      return {
        name,
        held: false,
        hold() {
          this.held = true
        },
        release() {
          this.held = false
        },
      }
    },
    say(peer: Peer, tookMs: number, what = peer.name, bytes = 100): void {
      turns.say(peer, bytes, () => {
        heard.push(what)
        setOffMs = tookMs
        return 0
      })
    },
    /** In pieces; each byte takes so long. */
    sayMuch(peer: Peer, bytes: number, msEach: number): void {
      let left = bytes
      turns.say(peer, bytes, (most) => {
        const piece = Math.min(left, most)
        heard.push(`${piece}`)
        setOffMs = piece * msEach
        left -= piece
        return left
      })
    },
    forget: turns.forget,
    pass(): string[] {
      for (const callback of passes.splice(0)) callback()
      return settle()
    },
  }
}

test('a message is handed over at once, the next one when all that it set off is done', () => {
  const { peer, say, settle, pass, isQuiet } = room()
  const ana = peer('a')
  say(ana, MESH_TURN_MS / 4, 'a1')
  say(ana, MESH_TURN_MS / 4, 'a2')
  say(ana, MESH_TURN_MS, 'a3')
  say(ana, 0, 'a4')
  assert.deepEqual(settle(), ['a1', 'a2', 'a3'])
  assert.deepEqual(pass(), ['a4'])
  assert.deepEqual(pass(), [])
  assert.ok(isQuiet())
})

test('who had little lately goes first, and the others take turns', () => {
  const { peer, say, settle, pass, wait } = room()
  const [loud, other, quiet] = [peer('l'), peer('o'), peer('q')]
  for (let i = 0; i < 8; i++) {
    say(loud, MESH_TURN_MS)
    say(other, MESH_TURN_MS)
  }
  assert.deepEqual([settle(), pass(), pass(), pass(), pass()].flat(), ['l', 'o', 'l', 'o', 'l'])
  say(quiet, MESH_TURN_MS)
  assert.deepEqual(pass(), ['q'])
  say(quiet, MESH_TURN_MS)
  assert.deepEqual(pass(), ['o'], 'one that has just been heard is one of them')
  wait((4 * MESH_TURN_MS) / MESH_LOUD_SHARE)
  assert.deepEqual([pass(), pass(), pass()].flat().toSorted(), ['l', 'o', 'q'])
})

test('a peer that says more than may wait is not read until all of it was heard', () => {
  const { peer, say, settle, pass } = room()
  const ana = peer('a')
  say(ana, MESH_TURN_MS, 'a', MESH_WAITING_MAX_BYTES)
  assert.ok(!ana.held, 'it was heard at once')
  say(ana, MESH_TURN_MS, 'b', MESH_WAITING_MAX_BYTES - 1)
  assert.ok(!ana.held)
  say(ana, MESH_TURN_MS, 'c', 1)
  assert.ok(ana.held)
  assert.deepEqual([settle(), pass()].flat(), ['a', 'b'])
  assert.ok(ana.held)
  assert.deepEqual(pass(), ['c'])
  assert.ok(!ana.held)
})

test('a message is heard in pieces, which are larger when they are cheap and smaller when they are not', () => {
  const { peer, sayMuch, settle, pass, say } = room()
  const [cheap, dear] = [peer('c'), peer('d')]
  sayMuch(cheap, 1_000_000, 0)
  const pieces = settle().map(Number)
  assert.equal(sum(pieces), 1_000_000)
  assert.equal(pieces[0], MESH_PIECE_MIN_BYTES)
  assert.ok(pieces[1]! > pieces[0]! && pieces[2]! > pieces[1]! && pieces.length < 20)
  sayMuch(dear, 10 * MESH_PIECE_MIN_BYTES, (2 * MESH_TURN_MS) / MESH_PIECE_MIN_BYTES)
  say(dear, 0, 'the next one')
  const heard = [settle()]
  for (let i = 0; i < 10; i++) heard.push(pass())
  assert.deepEqual(heard, [...Array.from({ length: 10 }, () => [`${MESH_PIECE_MIN_BYTES}`]), ['the next one']])
})

test('what nobody wants any more is not handed over', () => {
  const { peer, say, settle, forget, pass, isQuiet } = room()
  const [ana, ben] = [peer('a'), peer('b')]
  say(ana, MESH_TURN_MS)
  say(ana, 0)
  say(ben, 0)
  forget(ana)
  assert.deepEqual(settle(), ['a'])
  assert.deepEqual(pass(), ['b'])
  pass()
  assert.ok(isQuiet())
})
