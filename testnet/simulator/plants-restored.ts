// Bugs planted into what notices that a store went back, and goes on from it. Few scenes have such a store.
import type { Plant } from './plants.ts'

export const RESTORED_PLANTS: readonly Plant[] = [
  {
    id: 'old-backup-unnoticed',
    file: 'relay/rules/journal-notes.ts',
    patches: [['if (isAhead(place, { life: this.#life, commit }) && isOwn', 'if (place.life < 0 && isOwn']],
    explain: 'a store that went back is served as if nothing had been',
    checks: ['failure', 'one-order', 'nothing-lost', 'no-duplicate', 'converges'],
    about: 'restored',
    seeds: 100,
  },
  {
    id: 'restored-epoch-goes-on',
    file: 'relay/rules/moves.ts',
    patches: [['    conv.closedBefore = conv.epoch + 1\n    this.#parts.core.convs.moved(conv)\n', '']],
    explain: 'a restored host goes on numbering in an epoch of which it has forgotten the end',
    checks: ['failure', 'one-order', 'nothing-lost', 'no-duplicate', 'converges'],
    about: 'restored',
    seeds: 100,
  },
  {
    id: 'restored-host-knows-best',
    file: 'relay/rules/coming.ts',
    patches: [['const isBehind = isOld && others', 'const isBehind = !isOld && others']],
    explain: 'a restored host ends the epoch at what it has itself, though others have more',
    checks: ['failure', 'one-order', 'nothing-lost', 'no-duplicate', 'converges'],
    about: 'restored',
    seeds: 100,
  },
  {
    id: 'restored-replica-does-not-ask',
    file: 'relay/rules/regions.ts',
    patches: [['const lacks = conv.life < this.#core.life()', 'const lacks = false']],
    explain: 'a restored replica waits for what its host believes it to have',
    checks: ['failure', 'one-order', 'nothing-lost', 'converges'],
    about: 'restored',
    seeds: 100,
  },
]
