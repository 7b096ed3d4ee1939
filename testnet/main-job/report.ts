// What the terminal shows: a line for each phase as it ends, a table at the end.
import type { Memory, Result } from './stage.ts'

const ms = (value: number): string => (Number.isNaN(value) ? '–' : value < 100 ? value.toFixed(1) : value.toFixed(0))

export function wayText({ phase, from, to, host }: Result): string {
  return `${from.name}${phase.both ? '↔' : '→'}${to.name}, host ${host}`
}

export function resultLine(result: Result): string {
  const { phase, measured, lines, faults } = result
  const { perSecond, p50, p99, stallMs, kills } = measured
  const figures = `${lines} lines, ${perSecond.toFixed(0)}/s, p50 ${ms(p50)} p99 ${ms(p99)} ms, pause ${ms(stallMs)} ms`
  const killed = kills.length > 0 ? `, ${kills.length} kills` : ''
  return `(${phase.id}) ${phase.title} · ${wayText(result)}: ${figures}${killed}${faults.length > 0 ? '  FAILED' : ''}`
}

export function detailLines({ measured, faults }: Result): string[] {
  return [...measured.notes.map((it) => `      ${it}`), ...faults.map((it) => `      FAULT ${it}`)]
}

const HEAD = ['phase', 'way', 'lines', 'seconds', 'msg/s', 'p50 ms', 'p99 ms', 'pause ms', 'kills', 'result'] as const

export function table(results: readonly Result[]): string {
  const rows = results.map((it) => {
    const { perSecond, p50, p99, stallMs, kills, ms: all } = it.measured
    const result = it.faults.length === 0 ? 'ok' : `${it.faults.length} faults`
    const numbers = [`${it.lines}`, (all / 1000).toFixed(1), perSecond.toFixed(0), ms(p50), ms(p99), ms(stallMs)]
    return [`${it.phase.id} ${it.phase.title}`, wayText(it), ...numbers, `${kills.length}`, result]
  })
  const all = [HEAD, ...rows]
  const widths = HEAD.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0)))
  return all
    .map((row) =>
      row.map((cell, i) => (i < 2 || i === 9 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    )
    .join('\n')
}

export function memoryText(processes: readonly Memory[]): string {
  const shown = processes.map(({ name, bytes }) => `${name} ${(bytes / 2 ** 20).toFixed(0)} MiB`)
  return shown.join(', ')
}
