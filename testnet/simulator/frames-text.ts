// Frames between a device and its home in words, for whoever reads a trace.
import type { DeviceFrame, HomeFrame } from '#protocol'

export function upText(frame: DeviceFrame): string {
  return [
    ...frame.names.map((n) => `name${n.ref}`),
    ...frame.submissions.map((s) => `sub${s.conv} k${s.k} r${s.rev}${s.kind === 1 ? '' : ` kind${s.kind}`}`),
    ...frame.cursors.map((c) => `cursor${c.conv} ${c.n}${c.rewind ? ' rewind' : ''}`),
    ...frame.pulls.map((p) => `pull${p.conv} ${p.n}`),
    ...frame.registers.map((r) => `register${r.conv} ${r.kind}`),
  ].join(', ')
}

export function downText(frame: HomeFrame): string {
  return [
    ...frame.names.map((n) => `name${n.ref}`),
    ...frame.verdicts.map((v) => `${v.outcome.case}${v.conv} k${v.k}`),
    ...frame.entries.map((e) => `entries${e.conv} ×${e.entry.length}${e.page ? ' page' : ''} head ${e.headN}`),
    ...frame.behind.map((b) => `behind${b.conv} ${b.fromN} of ${b.headN}`),
    ...frame.registers.map((r) => `register${r.conv} ${r.kind} ${r.version % 4294967296n}`),
  ].join(', ')
}
