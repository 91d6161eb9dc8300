// A server's memory, its peak, and the bound that it printed at its start.

import { readFileSync } from 'node:fs'

const status = (server, field) => 1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1])

export const peak = server => status(server, 'VmHWM')
export const resident = server => status(server, 'VmRSS')

export function bound(server) {
  const line = server.lines.findLast(l => /memory bound: \d+ MB/.test(l))
  if (!line) throw new Error('no line about the memory bound')
  return 1e6 * Number(/memory bound: (\d+) MB/.exec(line)[1])
}
