// Preloaded into relays and clients: gives each of them a loopback address of its own, a clock that can be off, and a
// relay a store whose writes can be slow, fail, or be cut in half. The programs themselves know nothing of this.
import { registerHooks } from 'node:module'
import { Socket } from 'node:net'
import { current } from './current-faults.ts'
import { ADDRESS_VARIABLE } from './faults.ts'

const address = process.env[ADDRESS_VARIABLE]
if (!address) throw new Error(`${ADDRESS_VARIABLE} is not set`)

const { now } = Date
Object.assign(Date, { now: () => now() + current().skewMs })

type Target = { host?: string; localAddress?: string }

const connect: (this: Socket, ...args: unknown[]) => Socket = Socket.prototype.connect as never
Socket.prototype.connect = function (this: Socket, ...args: unknown[]): Socket {
  const [first] = args
  const target = (Array.isArray(first) ? first[0] : first) as Target | undefined
  if (target?.host === '127.0.0.1') target.localAddress = address
  return connect.apply(this, args)
} as never

const relay = new URL('../../relay/', import.meta.url).href
const instead = new Map([
  ['level', new URL('faulty-level.ts', import.meta.url).href],
  ['node:fs/promises', new URL('faulty-disk.ts', import.meta.url).href],
])

registerHooks({
  resolve(specifier, context, next) {
    const other = context.parentURL?.startsWith(relay) ? instead.get(specifier) : undefined
    return next(other ?? specifier, context)
  },
})
