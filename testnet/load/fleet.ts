// The devices of one load process, and what they do when they are told.
import { Crowd } from './crowd.ts'
import { Group } from './group.ts'
import type { Order } from './orders.ts'

export class Fleet {
  readonly #groups = new Map<string, Group>()
  readonly #crowd = new Crowd()

  #group(name: string): Group {
    const group = this.#groups.get(name) ?? new Group()
    this.#groups.set(name, group)
    return group
  }

  async obey(order: Order): Promise<unknown> {
    switch (order.do) {
      case 'pairs':
        return this.#group(order.group).makePairs(order)
      case 'raw-pairs':
        return this.#group(order.group).makeRawPairs(order.origin, order.pairs)
      case 'start':
        if (order.loop === 'closed') this.#group(order.group).startClosed(order.flight)
        else this.#group(order.group).startOpen(order.rate, order.precise)
        return undefined
      case 'send':
        return this.#group(order.group).send(order.each, order.flight)
      case 'mark':
        return this.#group(order.group).tally.mark()
      case 'forget-faults':
        return this.#group(order.group).tally.forgetFaults()
      case 'stop':
        return this.#group(order.group).stop()
      case 'readers-on':
        return this.#group(order.group).readersOn()
      case 'readers-off':
        return this.#group(order.group).readersOff()
      case 'leave':
        return this.#group(order.group).leave()
      case 'first-answer':
        return this.#group(order.group).firstAnswer()
      case 'crowd-register':
        return this.#crowd.register(order.origin, order.count)
      case 'crowd':
        return this.#crowd.signIn(order.count)
      case 'hang-up':
        return this.#crowd.hangUp()
      case 'sockets':
        return this.#crowd.dial(order.origin, order.count)
      case 'come-back':
        return this.#crowd.comeBack(order.count, order.withinMs)
      case 'close':
        for (const group of this.#groups.values()) group.close()
        this.#crowd.close()
        return undefined
    }
  }
}
