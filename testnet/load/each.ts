import { AT_ONCE } from './limits.ts'

/** Runs a task for each number from 0, a few at a time; the results in their order. */
export async function each<T>(count: number, task: (i: number) => Promise<T>): Promise<T[]> {
  const out: T[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      const i = next++
      out[i] = await task(i)
    }
  }
  await Promise.all(Array.from({ length: Math.min(count, AT_ONCE) }, work))
  return out
}
