// Key material as bytes for a profile's (encrypted) storage, and back.
import { ensureUserId, ParleyError } from '#protocol'
import type { AccountKeys, DeviceKeys } from './account.ts'

type Field = 'id' | 'number' | 'bytes'
type Layout<T> = { readonly [K in keyof T]: Field }

const VERSION = 1
const DEVICE: Layout<DeviceKeys> = {
  userId: 'id',
  number: 'number',
  registrationEpoch: 'number',
  registrationVersion: 'number',
  deviceKey: 'bytes',
  identityKeyPair: 'bytes',
  signalRegistrationId: 'number',
  tagSecret: 'bytes',
}
const ACCOUNT: Layout<AccountKeys> = { userId: 'id', rootEpoch: 'number', manifestKey: 'bytes', grant: 'bytes' }

function pack<T extends object>(kind: string, layout: Layout<T>, keys: T): Uint8Array {
  const out: Record<string, unknown> = { kind, version: VERSION }
  for (const name of Object.keys(layout) as (keyof T & string)[]) {
    const value = keys[name]
    out[name] = value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value
  }
  return new Uint8Array(Buffer.from(JSON.stringify(out)))
}

function readField(field: Field, value: unknown): unknown {
  if (field === 'number' && Number.isSafeInteger(value)) return value
  if (field === 'id' && typeof value === 'string') return ensureUserId(value)
  if (field === 'bytes' && typeof value === 'string') return new Uint8Array(Buffer.from(value, 'base64'))
  throw new TypeError(field)
}

/** Never says what the bytes held: they are secret. */
function unpack<T extends object>(kind: string, layout: Layout<T>, bytes: Uint8Array): T {
  try {
    const stored = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>
    if (stored.kind !== kind || stored.version !== VERSION) throw new TypeError('kind')
    const names = Object.keys(layout) as (keyof T & string)[]
    return Object.fromEntries(names.map((name) => [name, readField(layout[name], stored[name])])) as T
  } catch {
    throw new ParleyError('malformed', `stored ${kind} keys cannot be read`)
  }
}

export const packDeviceKeys = (keys: DeviceKeys): Uint8Array => pack('device', DEVICE, keys)
export const unpackDeviceKeys = (bytes: Uint8Array): DeviceKeys => unpack('device', DEVICE, bytes)
export const packAccountKeys = (keys: AccountKeys): Uint8Array => pack('account', ACCOUNT, keys)
export const unpackAccountKeys = (bytes: Uint8Array): AccountKeys => unpack('account', ACCOUNT, bytes)
