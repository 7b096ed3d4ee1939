// The client SDK with real libsignal and its encrypted database: one device sends, another one takes it all afterwards, so
// that each has a core to itself.
import { median } from './measure.ts'
import { atLeast, figure, type Row } from './row.ts'
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
    return {
      figures: [
        figure('sends, until they have their numbers', median(sends.map(perSecond)), 'sends/s', atLeast(5_000)),
        figure('CPU a send, client', median(sends.map(cpuUs)), 'µs'),
        figure('receives', median(receives.map(perSecond)), 'receives/s', atLeast(5_000)),
        figure('CPU a receive, client', median(receives.map(cpuUs)), 'µs'),
      ],
      notes: [`${rounds} rounds of ${count}, medians; relay and device run where the system puts them`],
    }
  },
}
