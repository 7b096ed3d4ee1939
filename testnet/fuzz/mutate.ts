// The next input: an example or a kept input, changed once or a few times.
import type { Decoder } from '#protocol/decoders'
import type { Chance } from './chance.ts'
import { BLOW_UP_EVERY, CHANGES_MAX, MEND_EVERY, PLAIN_EVERY } from './limits.ts'
import { BYTE_CHANGES, blowUp } from './mutate-bytes.ts'
import { changeWire } from './mutate-wire.ts'

/** The first byte of some inputs says what kind the rest is: a message may begin behind it. */
function changeOnce(bytes: Uint8Array, chance: Chance, pool: readonly Uint8Array[]): Uint8Array {
  if (chance.oneIn(2)) return chance.pick(BYTE_CHANGES)(bytes, chance, pool)
  const whole = changeWire(bytes, chance, pool)
  if (whole) return whole
  const rest = changeWire(bytes.subarray(1), chance, pool)
  return rest
    ? new Uint8Array(Buffer.concat([bytes.subarray(0, 1), rest]))
    : chance.pick(BYTE_CHANGES)(bytes, chance, pool)
}

export function nextInput(decoder: Decoder, chance: Chance, pool: readonly Uint8Array[]): Uint8Array {
  let bytes = chance.pick(pool)
  if (chance.oneIn(PLAIN_EVERY)) return bytes
  for (let changes = 1 + chance.below(CHANGES_MAX); changes > 0; changes--) bytes = changeOnce(bytes, chance, pool)
  if (chance.oneIn(BLOW_UP_EVERY)) bytes = blowUp(bytes, chance, decoder.maxBytes)
  return decoder.mend && chance.oneIn(MEND_EVERY) ? decoder.mend(bytes) : bytes
}
