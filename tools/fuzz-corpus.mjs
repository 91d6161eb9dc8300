// tools/fuzz-corpus.mjs - a corpus as one file of text, which can be read, compared and kept in the tree, and as the folder of files that libFuzzer wants.
//   unpack FILE FOLDER         one file for each line
//   pack FOLDER FILE [BYTES]   one line for each file, the smallest first, as long as they fit into BYTES (60 KiB)
// In a line each byte that is not printable ASCII, and '%', stands as %XX; tests/fuzz/replay.cpp reads it too.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const encode = (bytes) =>
  Array.from(bytes, (b) => (b >= 0x20 && b < 0x7f && b !== 0x25 ? String.fromCharCode(b) : '%' + b.toString(16).toUpperCase().padStart(2, '0'))).join('');

function decode(line) {
  const bytes = [];
  for (let i = 0; i < line.length; i++) {
    if (line[i] !== '%') bytes.push(line.charCodeAt(i));
    else bytes.push(parseInt(line.slice(i + 1, (i += 2) + 1), 16));
  }
  return Buffer.from(bytes);
}

function unpack(file, folder) {
  mkdirSync(folder, { recursive: true });
  if (!existsSync(file)) return;
  for (const line of readFileSync(file, 'latin1').split('\n').slice(0, -1)) {
    const bytes = decode(line);
    writeFileSync(join(folder, createHash('sha1').update(bytes).digest('hex')), bytes);
  }
}

function pack(folder, file, limit) {
  const lines = readdirSync(folder).map((name) => encode(readFileSync(join(folder, name))));
  lines.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  let bytes = 0;
  const kept = lines.filter((line) => (bytes += line.length + 1) <= limit);
  writeFileSync(file, kept.map((line) => line + '\n').join(''), 'latin1');
  console.log(`fuzz: ${file}: ${kept.length} of ${lines.length} inputs`);
}

const [what, from, to, limit] = process.argv.slice(2);
if (what === 'unpack') unpack(from, to);
else if (what === 'pack') pack(from, to, Number(limit ?? 60 * 1024));
else throw new Error('unpack FILE FOLDER | pack FOLDER FILE [BYTES]');
