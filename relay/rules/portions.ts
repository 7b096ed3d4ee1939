// Many conversations for one purpose: in portions, so that few are read at the same time and everybody else has turns.
import type { ConvId } from '#protocol'
import type { Conversation } from './conversation.ts'
import type { Core } from './core.ts'

const PORTION = 256

export type Portions = {
  readonly step: (id: ConvId, conv: Conversation | undefined) => void
  /** Before each portion: whether to go on. What `left` has not given yet may be gone on with later. */
  readonly goesOn?: (left: Iterator<ConvId>) => boolean
  readonly ended?: () => void
}

/** The first portion at once. */
export function inPortions(core: Core, left: Iterator<ConvId>, { step, goesOn, ended }: Portions): void {
  const portion = (): void => {
    if (goesOn && !goesOn(left)) return
    let [waiting, isEnd] = [1, false]
    const done = (): void => {
      if (--waiting > 0) return
      if (isEnd) ended?.()
      else core.load(new Promise<void>((resolve) => void core.ports.clock.after(0, resolve)), portion)
    }
    for (let i = 0; i < PORTION && !isEnd; i++) {
      const next = left.next()
      if (next.done) isEnd = true
      else {
        waiting++
        core.convs.with(next.value, (conv) => {
          step(next.value, conv)
          done()
        })
      }
    }
    done()
  }
  portion()
}
