// One attack in a process of its own, so that the good clients' times are the server's and not the attackers': `node attacker.mjs '{JSON}'`, which prints the
// counts of answers as JSON, after a line `ready` if it had to prepare something.

import { attacks } from './attacks.mjs'

const { name, server, seconds, scale, people } = JSON.parse(process.argv[2])
let end = Date.now() + seconds * 1000
function ready() {
  end = Date.now() + seconds * 1000
  console.log('ready')
}
console.log(JSON.stringify(await attacks[name].act(server, { over: () => Date.now() > end, scale, people, ready })))
process.exit(0)
