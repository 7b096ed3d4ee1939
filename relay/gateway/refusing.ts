// An upgrade that is refused: HTTP has let go of the socket already, and nothing else times it or counts it.
import type { Duplex } from 'node:stream'
import type { Clock, ParleyError } from '#protocol'
import { CLOSE_PATIENCE_MS } from '../limits.ts'
import { errorBody, statusOf } from './status.ts'

/** Nobody reads the socket, so the other side's end would never be noticed: it is cut once the answer is out, or late. */
export function refuseUpgrade(socket: Duplex, error: ParleyError, clock: Pick<Clock, 'after'>): void {
  const body = JSON.stringify(errorBody(error))
  const cut = (): void => void socket.destroy()
  const late = clock.after(CLOSE_PATIENCE_MS, cut)
  socket
    .on('error', cut)
    .once('finish', cut)
    .once('close', () => late.cancel())
  socket.end(
    `HTTP/1.1 ${statusOf(error)} Refused\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
