// Who may open an account. Open: everybody, at the pace the budgets allow; closed: nobody, those who are here stay.
import { ParleyError } from '#protocol'
import type { Policy } from './accounts.ts'

export type Registration = 'open' | 'closed'

export function registrationPolicy(registration: Registration): Policy {
  switch (registration) {
    case 'open':
      return () => undefined
    case 'closed':
      return () => new ParleyError('not_admitted', 'this region takes no new accounts')
  }
}
