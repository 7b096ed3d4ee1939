// Whom the engine needs to know more about: manifests and prekey bundles, asked for at the home one after another for
// each person, again with growing waits, at once when the home is back. Answers come into the engine as inputs.
import type { PeerDevice } from '#crypto'
import {
  type Clock,
  compareVersions,
  type Home,
  type Manifest,
  type PrekeyBundle,
  type Random,
  type Timer,
  type UserId,
  type Version,
} from '#protocol'
import { LOOK_UP_AGAIN_MAX_MS, LOOK_UP_AGAIN_MS, STRANGE_DEVICE_MS } from '../limits.ts'
import type { People } from './people.ts'
import type { Cipher, Directory } from './ports.ts'

export type Answer =
  | { readonly type: 'found'; readonly user: UserId; readonly home: Home; readonly manifest: Manifest }
  | { readonly type: 'bundle'; readonly peer: PeerDevice; readonly bundle: PrekeyBundle }
  | { readonly type: 'failed'; readonly user: UserId; readonly error: Error }

type Ask = {
  running: boolean
  attempt: number
  timer: Timer | undefined
  /** A manifest at least this new is needed. */
  newer: Version | undefined
  refresh: boolean
  /** Somebody asked while it could not be asked for: it is as soon as it can. */
  wanted: boolean
}

export type LookUps = {
  /** Always true, for the convenience of callers who note that something is missing. */
  want(user: UserId): true
  wantNewer(user: UserId, version: Version): void
  /** A device that no manifest names wrote in a log: there must be a newer one. */
  wantStrange(user: UserId): void
  /** The session is of no use any more. */
  wantFresh(peer: PeerDevice): void
  isFreshWanted(peer: PeerDevice): boolean
  /** What an answer means for the asking; the caller has done with it what is to be done. */
  answered(user: UserId): void
  satisfies(user: UserId, manifest: Manifest): boolean
  failed(user: UserId): void
  setUp(peer: PeerDevice): void
  /** What was asked for is asked for again, now. */
  online(): void
  offline(): void
}

export type LookUpPorts = {
  readonly clock: Clock
  readonly random: Random
  readonly directory: Directory
  readonly cipher: Cipher
  readonly people: People
  readonly answer: (answer: Answer) => void
  /** The wait is over: what needs this person is looked at again. */
  readonly again: (user: UserId) => void
}

type Times<K> = { get(key: K): number | undefined; set(key: K, ms: number): unknown }

export function openLookUps(ports: LookUpPorts): LookUps {
  const { clock, random, directory, cipher, people } = ports
  const asks = new Map<UserId, Ask>()
  /** By the object that a device has while it is known: one that is forgotten is forgotten here. */
  const fresh = new WeakSet<PeerDevice>()
  const freshAt = new WeakMap<PeerDevice, number>()
  const strangeAt = new Map<UserId, number>()
  let isOnline = false

  const askOf = (user: UserId): Ask => {
    let ask = asks.get(user)
    if (!ask) {
      ask = { running: false, attempt: 0, timer: undefined, newer: undefined, refresh: false, wanted: false }
      asks.set(user, ask)
    }
    return ask
  }

  const missingSession = (user: UserId): PeerDevice | undefined =>
    people.peers(user)?.find((peer) => fresh.has(peer) || !cipher.hasSession(peer))

  const request = async (user: UserId, ask: Ask): Promise<Answer | undefined> => {
    if (!people.peers(user) || ask.refresh || ask.newer) {
      return { type: 'found', user, ...(await directory.find(user)) }
    }
    const peer = missingSession(user)
    return peer && { type: 'bundle', peer, bundle: await directory.bundle(user, peer.device) }
  }

  const start = (user: UserId): void => {
    const ask = askOf(user)
    if (ask.running) return
    ask.wanted = !isOnline || ask.timer !== undefined
    if (ask.wanted) return
    ask.running = true
    request(user, ask).then(
      (answer) => {
        if (answer) ports.answer(answer)
        else ask.running = false
      },
      (error: unknown) => ports.answer({ type: 'failed', user, error: error as Error }),
    )
  }

  const rarely = <K>(times: Times<K>, key: K): boolean => {
    const last = times.get(key)
    if (last !== undefined && clock.monotonic() - last < STRANGE_DEVICE_MS) return false
    times.set(key, clock.monotonic())
    return true
  }

  return {
    want(user) {
      start(user)
      return true
    },
    wantNewer(user, version) {
      askOf(user).newer = version
      start(user)
    },
    wantStrange(user) {
      if (!rarely(strangeAt, user)) return
      askOf(user).refresh = true
      start(user)
    },
    wantFresh(peer) {
      if (rarely(freshAt, peer)) fresh.add(peer)
    },
    isFreshWanted: (peer) => fresh.has(peer),
    satisfies(user, manifest) {
      const { newer } = askOf(user)
      return !newer || compareVersions(manifest, newer) >= 0
    },
    answered(user) {
      const ask = askOf(user)
      Object.assign(ask, { running: false, attempt: 0, newer: undefined, refresh: false })
    },
    failed(user) {
      const ask = askOf(user)
      ask.running = false
      const wait = Math.min(LOOK_UP_AGAIN_MAX_MS, LOOK_UP_AGAIN_MS * 2 ** ask.attempt++)
      ask.timer = clock.after(Math.ceil(wait * (0.5 + random.fraction() / 2)), () => {
        ask.timer = undefined
        if (ask.refresh || ask.newer || ask.wanted) start(user)
        ports.again(user)
      })
    },
    setUp(peer) {
      fresh.delete(peer)
      Object.assign(askOf(peer.userId), { running: false, attempt: 0 })
    },
    online() {
      isOnline = true
      for (const [user, ask] of asks) {
        ask.timer?.cancel()
        ask.timer = undefined
        if (ask.refresh || ask.newer || ask.wanted) start(user)
      }
    },
    offline() {
      isOnline = false
    },
  }
}
