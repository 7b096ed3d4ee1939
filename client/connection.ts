// Staying connected: the ways into the home region one after another, with growing, jittered waits between rounds, and
// what each refusal means. The region's record is refreshed when no way in works.
import { MessageChannel } from 'node:worker_threads'
import {
  type Clock,
  type HomeFrame,
  ParleyError,
  type ProofOptions,
  type Random,
  type Region,
  type Timer,
} from '#protocol'
import { RECONNECT_FIRST_MS, RECONNECT_GROWTH, RECONNECT_MAX_MS, SESSION_HEALTHY_MS } from './limits.ts'
import { originsOf } from './regions.ts'
import type { HomeSession } from './rules/ports.ts'
import { type OpenSession, openSession } from './session.ts'

export type ConnectionState =
  | { readonly is: 'connecting'; readonly error: ParleyError | undefined }
  | { readonly is: 'connected'; readonly origin: string }
  /** Nothing more is tried: the account has to do something about it. */
  | { readonly is: 'stopped'; readonly error: ParleyError | undefined }

export type ConnectionPorts = {
  readonly clock: Clock
  readonly random: Random
  region(): Region
  readonly proof: () => Omit<ProofOptions, 'nowMs'>
  readonly online: (home: OpenSession) => void
  readonly offline: (home: HomeSession) => void
  readonly receive: (home: HomeSession, frame: HomeFrame) => void
  readonly changed: (state: ConnectionState) => void
  /** What can be done about a refusal before the next try: 'again' at once, 'later' with a wait, 'stop'. */
  readonly remedy: (error: ParleyError) => Promise<'again' | 'later' | 'stop'>
}

export type Connection = {
  readonly state: () => ConnectionState
  readonly session: () => OpenSession | undefined
  start(): void
  stop(error?: ParleyError): void
}

/** Timers do not keep a process alive; one that waits for its home to come back has to stay. */
function holdProcess(): { close(): void } {
  const { port1 } = new MessageChannel()
  port1.ref()
  return port1
}

/** What a refusal that ends everything means for the person. */
function explained(error: ParleyError): ParleyError {
  if (error.code !== 'unsigned_device' && error.code !== 'old_profile') return error
  const message =
    error.code === 'unsigned_device'
      ? 'this device does not count any more: another profile took its place, or the account was recovered'
      : 'this profile is an old copy of one that is in use, and was replaced within the last day already'
  return new ParleyError(error.code, message, {
    ...error.facts,
    next: 'use the other profile, or make a new one with `parley account create --recover`',
  })
}

/** The profile could not be read or written. A home says `store_damaged` of its own store, which is no reason to stop. */
class ProfileFault extends Error {}

function fromProfile<T>(take: () => T): T {
  try {
    return take()
  } catch (error) {
    if (error instanceof ParleyError) throw error
    throw new ProfileFault(`the profile could not be read or written: ${(error as Error).message}`)
  }
}

export function keepConnected(ports: ConnectionPorts): Connection {
  const { clock, random } = ports
  let state: ConnectionState = { is: 'stopped', error: undefined }
  let session: OpenSession | undefined
  let openedAtMs = 0
  let timer: Timer | undefined
  /** One that ends right after each sign-in must not be opened again without a pause. */
  let shortSessions = 0
  /** Tries in vain since the last session, which begin where it left off. */
  let failures = 0
  let round = 0
  let running = false
  let hold: { close(): void } | undefined

  const become = (next: ConnectionState): void => {
    state = next
    ports.changed(next)
  }

  const later = (error: ParleyError | undefined): void => {
    if (!running) return
    become({ is: 'connecting', error })
    const wait = Math.min(RECONNECT_MAX_MS, RECONNECT_FIRST_MS * RECONNECT_GROWTH ** Math.min(failures++, 32))
    const atLeast = error?.retryAfterMs ?? 0
    timer = clock.after(Math.max(atLeast, Math.ceil(wait * (0.5 + random.fraction() / 2))), () => void attempt())
  }

  const stop = (error: ParleyError | undefined): void => {
    running = false
    hold?.close()
    hold = undefined
    timer?.cancel()
    const open = session
    session = undefined
    open?.close()
    if (open) ports.offline(open)
    become({ is: 'stopped', error })
  }

  const failed = async (error: ParleyError): Promise<void> => {
    const remedy = await ports.remedy(error).catch(() => 'later' as const)
    if (!running) return
    if (remedy === 'stop') stop(explained(error))
    else if (remedy === 'again' && failures < 3) {
      failures++
      void attempt()
    } else later(error)
  }

  const notOpened = async (error: Error): Promise<void> => {
    if (error instanceof ProfileFault) {
      if (running) stop(new ParleyError('store_damaged', error.message))
    } else if (error instanceof ParleyError) await failed(error)
    else await failed(new ParleyError('unreachable', `the home cannot be reached: ${error.message}`))
  }

  const dial = async (): Promise<OpenSession> => {
    const region = fromProfile(ports.region)
    const origins = originsOf(region)
    const origin = origins[round++ % Math.max(1, origins.length)]
    if (!origin) throw new ParleyError('unreachable', `region ${region.name} names no way in`)
    return openSession({
      origin,
      regionId: region.regionId,
      clock,
      random,
      proof: () => fromProfile(ports.proof),
      receive: ports.receive,
      ended: (home, reason) => {
        if (session !== home) return
        session = undefined
        shortSessions = clock.monotonic() - openedAtMs < SESSION_HEALTHY_MS ? shortSessions + 1 : 0
        failures = shortSessions
        ports.offline(home)
        void failed(reason ?? new ParleyError('unreachable', 'the connection was lost'))
      },
    })
  }

  const attempt = async (): Promise<void> => {
    if (!running) return
    let opened: OpenSession
    try {
      opened = await dial()
      if (!running) return opened.close()
      session = opened
      openedAtMs = clock.monotonic()
      fromProfile(() => ports.online(opened))
    } catch (error) {
      return notOpened(error as Error)
    }
    become({ is: 'connected', origin: opened.origin })
    opened.start()
  }

  return {
    state: () => state,
    session: () => session,
    start() {
      if (running) return
      running = true
      failures = 0
      hold = holdProcess()
      become({ is: 'connecting', error: undefined })
      void attempt()
    },
    stop,
  }
}
