// How the commands for measuring and testing are told what to do, and how they refuse what they do not know: in one line.
import { type ParseArgsConfig, parseArgs } from 'node:util'

/** What was asked for cannot be done, and why. */
export class Usage extends Error {}

/** Throws Usage. */
export function readOptions<const T extends NonNullable<ParseArgsConfig['options']>>(
  options: T,
  args: readonly string[] = process.argv.slice(2),
) {
  try {
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    // Node adds advice of several sentences.
    throw new Usage((error instanceof Error ? error.message : String(error)).split(/\. |\n/)[0])
  }
}

/** Throws Usage. */
export function wholeNumber(text: string, name: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  const upTo = most < Number.MAX_SAFE_INTEGER ? `to ${most}` : 'on'
  throw new Usage(`--${name} is a whole number from ${least} ${upTo}, not ${text}`)
}
