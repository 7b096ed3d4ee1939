// Memory of a process of ours that really is in use: its inspector collects garbage first, several times over.
import { WebSocket } from 'ws'
import { ParleyError } from '#protocol'

export type MemoryUse = { readonly rss: number; readonly heapUsed: number; readonly external: number }

const COLLECTIONS = 3
const EXPRESSION = 'JSON.stringify(process.memoryUsage())'

type Answer = { id: number; result?: { result?: { value?: string } }; error?: { message: string } }

/** `port`: where its inspector listens on this machine. Bytes. */
export async function memoryOf(port: number): Promise<MemoryUse> {
  const list = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as { webSocketDebuggerUrl: string }[]
  const socket = new WebSocket(list[0]!.webSocketDebuggerUrl, { perMessageDeflate: false })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    let ids = 0
    const ask = (method: string, params: object = {}): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const id = ++ids
        const hear = (data: Buffer): void => {
          const answer = JSON.parse(data.toString()) as Answer
          if (answer.id !== id) return
          socket.off('message', hear)
          if (answer.error) reject(new ParleyError('unreachable', `${method}: ${answer.error.message}`))
          else resolve(answer)
        }
        socket.on('message', hear)
        socket.once('close', () =>
          reject(new ParleyError('unreachable', `the inspector left before it answered ${method}`)),
        )
        socket.send(JSON.stringify({ id, method, params }))
      })
    for (let i = 0; i < COLLECTIONS; i++) await ask('HeapProfiler.collectGarbage')
    const { result } = await ask('Runtime.evaluate', { expression: EXPRESSION })
    return JSON.parse(result?.result?.value ?? '{}') as MemoryUse
  } finally {
    socket.close()
  }
}
