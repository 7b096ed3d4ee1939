// The client SDK with real libsignal and its encrypted database: one device sends, another one takes it all afterwards, so
// that each has a core to itself.
import { bareSessions } from './bare-sessions.ts'
import { median } from './measure.ts'
import { atLeast, figure, type Row } from './row.ts'
import { SDK_TEXT_BYTES } from './sdk-limits.ts'
import { cpuUs, perSecond, sdkSpeed } from './sdk-speed.ts'

const COUNT = 5_000
const COUNT_FULL = 20_000
const ROUNDS = 2
const ROUNDS_FULL = 3

export const clientRow: Row = {
  name: 'client',
  title: 'client SDK with libsignal: one device sends, one receives, 256-byte texts',
  async run(stage, { full }) {
    const [count, rounds] = full ? [COUNT_FULL, ROUNDS_FULL] : [COUNT, ROUNDS]
    const progress = (line: string): void => stage.say(`  ${line}`)
    const { sends, receives } = await sdkSpeed({ count, rounds, execArgv: [], progress })
    const bare = await bareSessions(count, SDK_TEXT_BYTES)
    return {
      figures: [
        figure('sends, until they have their numbers', median(sends.map(perSecond)), 'sends/s', atLeast(5_000)),
        figure('CPU a send, client', median(sends.map(cpuUs)), 'µs'),
        figure('receives', median(receives.map(perSecond)), 'receives/s', atLeast(5_000)),
        figure('CPU a receive, client', median(receives.map(cpuUs)), 'µs'),
        figure('libsignal alone, sealing', perSecond(bare.seal), 'texts/s'),
        figure('CPU a text, libsignal alone, sealing', cpuUs(bare.seal), 'µs'),
        figure('libsignal alone, opening', perSecond(bare.open), 'texts/s'),
        figure('CPU a text, libsignal alone, opening', cpuUs(bare.open), 'µs'),
      ],
      notes: [`${rounds} rounds of ${count}, medians; relay and device run where the system puts them`],
      faults: [],
    }
  },
}
