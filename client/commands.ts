// The client's commands: account, contact, chat, send, receive. Errors are thrown; the composition root prints them.
import type { Command } from 'commander'
import { registerAccount } from './commands/account.ts'
import { registerChat } from './commands/chat.ts'
import { registerContact } from './commands/contact.ts'
import { registerReceive } from './commands/receive.ts'
import { registerSend } from './commands/send.ts'

export function registerCommands(program: Command): void {
  registerAccount(program)
  registerContact(program)
  registerChat(program)
  registerSend(program)
  registerReceive(program)
}
