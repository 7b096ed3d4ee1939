// A device in a process of its own, for the row of the SDK: the SDK as everybody uses it, and a stopwatch (sdk-timed.ts).
// Arguments: the profile and the file of its passphrase.
import { readFile } from 'node:fs/promises'
import { Parley, type Sending } from '#client'
import { ensureUserId, type UserId } from '#protocol'
import { SDK_STEP_MS } from './sdk-limits.ts'
import type { SdkOrder, SdkSpent, SdkTold } from './sdk-orders.ts'
import { timedReceive, timedSend } from './sdk-timed.ts'

const tell = (told: SdkTold): void => void process.send?.(told)

async function greet(parley: Parley, to: UserId): Promise<void> {
  await (await parley.send(to, 'hello')).until('delivered')
}

type Device = { parley: Parley; newest: Pick<Sending, 'until'> | undefined; readonly open: () => Promise<Parley> }

async function obey(device: Device, order: SdkOrder): Promise<SdkSpent | undefined> {
  const { parley } = device
  switch (order.do) {
    case 'greet':
      await greet(parley, ensureUserId(order.to))
      return undefined
    case 'send': {
      const { spent, last } = await timedSend(parley, ensureUserId(order.to), order)
      device.newest = last
      return spent
    }
    case 'until-delivered':
      await device.newest?.until('delivered')
      return undefined
    case 'receive':
      return timedReceive(parley, order)
    case 'leave':
      await parley.close()
      device.parley = await device.open()
      return undefined
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
  const open = (): Promise<Parley> => Parley.open(profile, { passphrase })
  const device: Device = { parley: await open(), newest: undefined, open }
  const over = Promise.withResolvers<void>()
  process.on('disconnect', () => process.exit(0))
  process.on('message', (order: SdkOrder) => {
    obey(device, order).then(
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
