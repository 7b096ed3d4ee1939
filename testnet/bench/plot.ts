// Latency over load as a drawing: SVG by hand, both axes with a grid, times on a logarithmic scale.

export type Series = {
  readonly name: string
  /** Messages a second, ms. */
  readonly points: readonly (readonly [x: number, y: number])[]
}

export type Plot = { readonly title: string; readonly series: readonly Series[] }

const WIDTH = 900
const HEIGHT = 520
const LEFT = 80
const RIGHT = 190
const TOP = 50
const BOTTOM = 60
const COLOURS = ['#1b6ca8', '#d1495b', '#2e933c', '#8d5a97', '#e08e1b', '#444444']
const X_LINES = 6

const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
const rounded = (value: number): string => value.toFixed(1)

/** 1, 2 or 5 times a power of ten, so that about X_LINES of them fill the axis. */
function stepOf(max: number): number {
  const rough = max / X_LINES
  const power = 10 ** Math.floor(Math.log10(rough))
  return power * ([1, 2, 5, 10].find((it) => it * power >= rough) ?? 10)
}

export function svgOf({ title, series }: Plot): string {
  const points = series.flatMap((it) => it.points).filter(([, y]) => y > 0)
  const maxX = Math.max(1, ...points.map(([x]) => x)) * 1.05
  const low = Math.floor(Math.log10(Math.min(...points.map(([, y]) => y), 1)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...points.map(([, y]) => y), 1))))
  const xAt = (x: number): number => LEFT + (x / maxX) * (WIDTH - LEFT - RIGHT)
  const yAt = (y: number): number => HEIGHT - BOTTOM - ((Math.log10(y) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM)
  const step = stepOf(maxX)
  const grid: string[] = []
  for (let x = 0; x <= maxX; x += step) {
    const at = rounded(xAt(x))
    grid.push(`<line x1="${at}" y1="${TOP}" x2="${at}" y2="${HEIGHT - BOTTOM}" stroke="#ddd"/>`)
    grid.push(`<text x="${at}" y="${HEIGHT - BOTTOM + 20}" text-anchor="middle">${x.toLocaleString('en')}</text>`)
  }
  for (let power = low; power <= high; power++) {
    const at = rounded(yAt(10 ** power))
    grid.push(`<line x1="${LEFT}" y1="${at}" x2="${WIDTH - RIGHT}" y2="${at}" stroke="#ddd"/>`)
    grid.push(`<text x="${LEFT - 8}" y="${at}" dy="4" text-anchor="end">${10 ** power} ms</text>`)
  }
  const drawn = series.map(({ name, points: own }, i) => {
    const colour = COLOURS[i % COLOURS.length]!
    const places = own.filter(([, y]) => y > 0).map(([x, y]) => [rounded(xAt(x)), rounded(yAt(y))] as const)
    const dots = places.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" fill="${colour}"/>`).join('')
    const path = places.map((place) => place.join(',')).join(' ')
    const legend = `<text x="${WIDTH - RIGHT + 12}" y="${TOP + 14 + i * 20}" fill="${colour}">${escaped(name)}</text>`
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>${dots}${legend}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="${LEFT}" y="28" font-size="16">${escaped(title)}</text>
${grid.join('\n')}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 14}" text-anchor="middle">messages a second</text>
${drawn.join('\n')}
</svg>
`
}
