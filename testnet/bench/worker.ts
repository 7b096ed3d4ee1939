// A process that holds devices and loads a relay with them; ends with the process that started it.

import { Fleet } from '../load/fleet.ts'
import type { Answer, Asked } from '../load/orders.ts'

const fleet = new Fleet()
const tell = (answer: Answer | { readonly ready: true }): void => void process.send?.(answer)

process.on('disconnect', () => process.exit(0))
process.on('message', ({ id, order }: Asked) => {
  fleet.obey(order).then(
    (value) => tell({ id, value }),
    (error: unknown) => tell({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
tell({ ready: true })
