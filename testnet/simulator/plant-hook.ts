// Preloaded into a process that is to run with a bug: patches one of the sources as it loads. There are no switches for
// bugs in the program itself.
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { STORE_PLANTS } from '../chaos/plants.ts'
import { PLANTS } from './plants.ts'

const plant = [...PLANTS, ...STORE_PLANTS].find(({ id }) => id === process.env.SIM_PLANT)
if (!plant) throw new Error(`no plant is called ${process.env.SIM_PLANT}`)
const target = new URL(`../../${plant.file}`, import.meta.url)
let patched = false

function patch(source: string, find: string, replace: string): string {
  const found = source.split(find).length - 1
  if (found !== 1)
    throw new Error(`the plant ${plant!.id} fits ${plant!.file} ${found} times, and must fit once: ${find}`)
  return source.replace(find, () => replace)
}

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (url !== target.href) return loaded
    patched = true
    let source = readFileSync(fileURLToPath(url), 'utf8')
    for (const [find, replace] of plant.patches) source = patch(source, find, replace)
    return { ...loaded, source }
  },
})

process.on('exit', () => {
  if (patched) return
  console.error(`the plant ${plant.id} was never loaded`)
  process.exitCode = 3
})
