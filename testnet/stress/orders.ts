// What an attacker process is told, and what it says.

export type Place = {
  /** Origin of the client port. */
  readonly origin: string
  readonly host: string
  readonly clientPort: number
  readonly meshPort: number
  /** With `/p2p/…`. */
  readonly multiaddr: string
  readonly peerId: string
}

export type AttackOrder = { readonly id: string; readonly north: Place; readonly south: Place; readonly full: boolean }

/** `ready`: everybody is in place; the attack begins with `go` and ends with `stop`. */
export type AttackSays =
  | { readonly is: 'ready' }
  | { readonly is: 'done'; readonly did: string; readonly times: number; readonly faults: readonly string[] }
  | { readonly is: 'failed'; readonly error: string }
