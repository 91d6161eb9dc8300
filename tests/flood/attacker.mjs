// One attack in a process of its own, so that the good clients' times are the server's and not the attackers': `node attacker.mjs '{JSON}'`, which prints the
// counts of answers as JSON.

import { attacks } from './attacks.mjs'

const { name, server, seconds, scale, people } = JSON.parse(process.argv[2])
const end = Date.now() + seconds * 1000
console.log(JSON.stringify(await attacks[name].act(server, { over: () => Date.now() > end, scale, people })))
process.exit(0)
