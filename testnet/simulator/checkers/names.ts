// Texts of ids are long, and for every message names are made of them to look something up by.
const numbers = new Map<string, number>()

/** A small number that stands for an id in names, the same for as long as the process lives. */
export function short(id: string): number {
  let number = numbers.get(id)
  if (number === undefined) {
    number = numbers.size
    numbers.set(id, number)
  }
  return number
}
