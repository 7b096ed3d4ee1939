import { type Clock, ParleyError } from '#protocol'
import { HEALTH_EVERY_MS, HEALTH_MAX_MS } from './limits.ts'

/** Asks again and again until the answer (JSON, status 200) is good; `unreachable` with the last answer otherwise. */
async function untilGood(url: string, clock: Clock, good: (answer: unknown) => boolean): Promise<void> {
  const until = clock.monotonic() + HEALTH_MAX_MS
  for (;;) {
    const said = await fetch(url).then(
      async (response) => ({ ok: response.ok, text: await response.text() }),
      (error: unknown) => ({ ok: false, text: String(error) }),
    )
    if (said.ok && good(JSON.parse(said.text))) return
    if (clock.monotonic() > until)
      throw new ParleyError('unreachable', `${url} keeps saying: ${said.text.slice(0, 200)}`)
    const { promise, resolve } = Promise.withResolvers<void>()
    clock.after(HEALTH_EVERY_MS, resolve)
    await promise
  }
}

export async function untilHealthy(origin: string, clock: Clock): Promise<void> {
  await untilGood(`${origin}/v1/health`, clock, () => true)
}

/** Until the entry node at `origin` lists at least so many regions. */
export async function untilListed(origin: string, count: number, clock: Clock): Promise<void> {
  await untilGood(`${origin}/v1/regions`, clock, (answer) => {
    const { regions } = answer as { regions?: unknown }
    return Array.isArray(regions) && regions.length >= count
  })
}
