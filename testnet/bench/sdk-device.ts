// A device in a process of its own, for the row of the SDK: the SDK as everybody uses it, and a stopwatch.
// Arguments: the profile and the file of its passphrase.
import { readFile } from 'node:fs/promises'
import { Parley, type ParleyEvent } from '#client'
import { ensureUserId, systemClock, type UserId } from '#protocol'
import { SDK_STEP_MS } from './sdk-limits.ts'
import type { SdkOrder, SdkSpent, SdkTold } from './sdk-orders.ts'

const tell = (told: SdkTold): void => void process.send?.(told)

/** From now until `done`. */
function stopwatch(count: number): () => SdkSpent {
  const began = systemClock.monotonic()
  const cpu = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    return { count, wallMs: systemClock.monotonic() - began, cpuMs: (user + system) / 1000 }
  }
}

/** Resolves when `hear` has said so; what goes wrong on the way rejects. */
function during(parley: Parley, hear: (event: ParleyEvent) => boolean): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const listener = (event: ParleyEvent): void => {
    if (event.type === 'broken' || event.type === 'old-copy' || event.type === 'host-lies')
      reject(new Error(JSON.stringify(event)))
    if (hear(event)) resolve()
  }
  const timer = systemClock.after(SDK_STEP_MS, () => reject(new Error(`not done after ${SDK_STEP_MS} ms`)))
  parley.on('event', listener)
  return promise.finally(() => {
    timer.cancel()
    parley.off('event', listener)
  })
}

async function greet(parley: Parley, to: UserId): Promise<void> {
  await (await parley.send(to, 'hello')).until('delivered')
}

async function send(parley: Parley, to: UserId, order: SdkOrder & { do: 'send' }): Promise<SdkSpent> {
  const { count, warmUp, bytes, ahead } = order
  await parley.connected(SDK_STEP_MS)
  const last = warmUp + count
  let sent = 0
  let numbered = 0
  const line = 'x'.repeat(bytes - 10)
  const fill = (): void => {
    while (sent < last && sent - numbered < ahead) void parley.send(to, line + `${++sent}`.padStart(10))
  }
  let spent = stopwatch(count)
  const all = during(parley, (event) => {
    if (event.type === 'state' && event.state === 'sequenced' && ++numbered === warmUp) spent = stopwatch(count)
    fill()
    return numbered === last
  })
  fill()
  await all
  return spent()
}

async function receive(parley: Parley, { count, warmUp }: SdkOrder & { do: 'receive' }): Promise<SdkSpent> {
  let received = 0
  let spent = stopwatch(count)
  const all = during(parley, (event) => {
    if (event.type === 'message' && !event.message.mine) {
      if (event.message.kind !== 'text') throw new Error(`a message of kind ${event.message.kind}`)
      if (++received === warmUp) spent = stopwatch(count)
    }
    return received === warmUp + count
  })
  parley.connect()
  await all
  return spent()
}

async function obey(parley: Parley, order: SdkOrder): Promise<SdkSpent | undefined> {
  switch (order.do) {
    case 'greet':
      await greet(parley, ensureUserId(order.to))
      return undefined
    case 'send':
      return send(parley, ensureUserId(order.to), order)
    case 'receive':
      return receive(parley, order)
    case 'connect':
      await parley.connected(SDK_STEP_MS)
      return undefined
    case 'close':
      await parley.close()
      return undefined
  }
}

async function main(profile: string, passphraseFile: string): Promise<void> {
  const passphrase = (await readFile(passphraseFile, 'utf8')).split('\n', 1)[0] ?? ''
  await using parley = await Parley.open(profile, { passphrase })
  const over = Promise.withResolvers<void>()
  process.on('disconnect', () => process.exit(0))
  process.on('message', (order: SdkOrder) => {
    obey(parley, order).then(
      (value) => {
        tell({ value })
        if (order.do === 'close') over.resolve()
      },
      (error: unknown) => tell({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
  })
  tell({ ready: true })
  await over.promise
  process.disconnect()
}

const [profile, passphraseFile] = process.argv.slice(2)
if (!profile || !passphraseFile) throw new Error('sdk-device.ts PROFILE PASSPHRASE_FILE')
await main(profile, passphraseFile)
