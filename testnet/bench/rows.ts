// Every row, in the order of the table.
import { clientRow } from './client-row.ts'
import { crowdRow } from './crowd-rows.ts'
import { goneRow } from './gone-row.ts'
import { growthRow, restartRow } from './growth-rows.ts'
import { latencyRow, loneRow } from './latency-rows.ts'
import { linkRow } from './link-row.ts'
import { behindRow, offlineRow } from './offline-rows.ts'
import { relayRow, wideRow } from './relay-rows.ts'
import type { Row } from './row.ts'

export const ROWS: readonly Row[] = [
  relayRow,
  wideRow,
  offlineRow,
  loneRow,
  latencyRow,
  linkRow,
  behindRow,
  restartRow,
  growthRow,
  clientRow,
  goneRow,
  crowdRow,
]
