// Reading asks the disk and takes a while; two requests for one account must not both decide from what they read
// before the other wrote. Tasks with the same name run one after the other, others side by side.
import { ParleyError } from '#protocol'
import { TURNS_WAITING_MAX } from '../limits.ts'

export type Turns = <T>(name: string, task: () => Promise<T>) => Promise<T>

/** A task that throws does not stop the next. More than TURNS_WAITING_MAX waiting for one name: `overloaded`. */
export function createTurns(): Turns {
  const queues = new Map<string, { tail: Promise<unknown>; waiting: number }>()
  return async (name, task) => {
    const queue = queues.get(name) ?? { tail: Promise.resolve(), waiting: 0 }
    if (queue.waiting >= TURNS_WAITING_MAX)
      throw new ParleyError('overloaded', 'too many requests for one account', {}, 1_000)
    queues.set(name, queue)
    queue.waiting++
    const turn = queue.tail.then(task, task)
    queue.tail = turn.catch(() => undefined)
    try {
      return await turn
    } finally {
      if (--queue.waiting === 0) queues.delete(name)
    }
  }
}
