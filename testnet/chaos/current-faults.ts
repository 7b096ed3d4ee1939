// The faults of the process that loads this.
import { FAULTS_VARIABLE, type Faults, readFaults } from './faults.ts'

const file = process.env[FAULTS_VARIABLE]
if (!file) throw new Error(`${FAULTS_VARIABLE} is not set`)
let faults = readFaults(file)
process.on('SIGUSR2', () => {
  faults = readFaults(file)
})

export const current = (): Faults => faults
