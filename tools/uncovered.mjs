// tools/uncovered.mjs FILE - the lines that no test reached, from what gcovr --json wrote: each file's name with how many they are, those with most first, and
// under it NUMBER: TEXT. For tools/instrumented; runs in the root of the sources that were counted.

import { readFileSync } from 'node:fs'

const { files } = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const unreached = files.map(({ file, lines }) => {
  // A template's or a header's line is counted once for each of its uses: one that reached it is enough.
  const counts = new Map()
  for (const line of lines) if (!line['gcovr/noncode']) counts.set(line.line_number, (counts.get(line.line_number) ?? 0) + line.count)
  return { file, numbers: [...counts.keys()].filter(n => counts.get(n) === 0).sort((a, b) => a - b) }
})
for (const { file, numbers } of unreached.sort((a, b) => b.numbers.length - a.numbers.length || (a.file < b.file ? -1 : 1))) {
  if (!numbers.length) continue
  const text = readFileSync(file, 'utf8').split('\n')
  console.log(`${file}: ${numbers.length}\n${numbers.map(n => `${n}: ${text[n - 1]}\n`).join('')}`)
}
