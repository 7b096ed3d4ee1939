import { ParleyError } from '#protocol'
import { PORT_MAX } from './limits.ts'

export type HostPort = { readonly host: string; readonly port: number }

/** "127.0.0.1:4000" or "[::1]:4000"; port 0 takes a free one. Throws `bad_argument`. */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/i.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (!host || port > PORT_MAX)
    throw new ParleyError('bad_argument', `expected HOST:PORT, for instance 127.0.0.1:4000, not ${text}`)
  return { host, port }
}

export function hostPortText({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
