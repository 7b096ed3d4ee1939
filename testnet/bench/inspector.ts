// The inspector of a process of ours on this machine.
import { WebSocket } from 'ws'
import { ParleyError } from '#protocol'

export type Inspector = Disposable & {
  /** Rejects when the other side says that it cannot, or leaves. */
  ask(method: string, params?: object): Promise<object>
  /** Resolves with what the expression returns. */
  evaluate<T>(expression: string): Promise<T>
}

type Answer = { id: number; result?: object; error?: { message: string } }
type Asked = { resolve(result: object): void; reject(error: Error): void }

export async function openInspector(port: number): Promise<Inspector> {
  const list = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as { webSocketDebuggerUrl: string }[]
  const socket = new WebSocket(list[0]!.webSocketDebuggerUrl, { perMessageDeflate: false })
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  const waiting = new Map<number, Asked>()
  socket.on('message', (data: Buffer) => {
    const { id, result = {}, error } = JSON.parse(data.toString()) as Answer
    const asked = waiting.get(id)
    waiting.delete(id)
    if (error) asked?.reject(new ParleyError('unreachable', error.message))
    else asked?.resolve(result)
  })
  socket.on('close', () => {
    for (const { reject } of waiting.values()) reject(new ParleyError('unreachable', 'the inspector left'))
  })
  let ids = 0
  const ask = (method: string, params: object = {}): Promise<object> =>
    new Promise((resolve, reject) => {
      const id = ++ids
      waiting.set(id, { resolve, reject })
      socket.send(JSON.stringify({ id, method, params }))
    })
  return {
    ask,
    async evaluate<T>(expression: string) {
      const answer = (await ask('Runtime.evaluate', { expression, returnByValue: true })) as {
        result: { value: T }
      }
      return answer.result.value
    },
    [Symbol.dispose]: () => socket.close(),
  }
}
