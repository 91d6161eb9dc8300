// The table of `make bench` from the rows of its scenarios.
import { spawnSync } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { data } from './machine.mjs';
import { dirname } from 'node:path';

const known = (x) => x !== undefined && Number.isFinite(x);
function show(x, form) {
  if (!known(x)) return '–';
  if (form === 'rate') return x >= 1e6 ? `${(x / 1e6).toFixed(2)} M` : x >= 1e4 ? `${(x / 1e3).toFixed(1)} k` : x.toFixed(0);
  return x >= 1000 ? x.toFixed(0) : x >= 100 ? x.toFixed(1) : x >= 0.995 ? x.toFixed(2) : x.toFixed(3);
}
const ratio = (x) => (known(x) ? `${x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2)}×` : '–');

function target(row) {
  const what = row.own ? '' : '×', limit = (x) => (row.form === 'rate' && row.own ? show(x, 'rate') : `${x}${what}`);
  if (known(row.least)) return `≥ ${limit(row.least)}${row.judge === 'quartile' ? ' (lower quartile)' : ''}${row.aim ? `, aim ${row.aim}×` : ''}`;
  return known(row.most) ? `≤ ${limit(row.most)}` : '';
}
function met(row) {
  if (!known(row.least) && !known(row.most)) return '';
  const x = row.own ? row.ours : row.judge === 'quartile' ? row.quartile : row.ratio;
  if (!known(x)) return '–';
  return (known(row.least) ? x >= row.least : x <= row.most) ? 'yes' : '**no**';
}
function spread(row) {
  if (!known(row.low) && !known(row.high)) return '';
  const form = (x) => (row.own ? show(x, row.form) : ratio(x));
  const range = known(row.low) ? `${form(row.low)}–${form(row.high)}` : `to ${form(row.high)}`;
  return known(row.quartile) && row.count >= 4 ? `${form(row.quartile)}; ${range}` : range;
}

export function tablePrint(rows, notes, program) {
  const titles = ['', 'ChatterBox', 'against', '', 'ratio', 'lower quartile; range', 'target', 'met'];
  const lines = rows.filter((row) => row.what).map((row) => [row.what, show(row.ours, row.form), row.against ?? '', known(row.other) ? show(row.other, row.form) : '',
    known(row.ratio) ? ratio(row.ratio) : '', spread(row), target(row), met(row)]);
  const cells = [titles, ...lines], wide = titles.map((_, i) => Math.max(3, ...cells.map((line) => [...line[i]].length)));
  const left = [true, false, true, false, false, true, true, true];
  const print = (line) => `| ${line.map((text, i) => (left[i] ? text + ' '.repeat(wide[i] - [...text].length) : ' '.repeat(wide[i] - [...text].length) + text)).join(' | ')} |\n`;
  let text = print(titles) + print(wide.map((n, i) => (left[i] ? '-'.repeat(n) : `${'-'.repeat(n - 1)}:`)));
  for (const line of lines) text += print(line);
  const judged = lines.filter((line) => line[7] === 'yes' || line[7].includes('no'));
  text += `\n${judged.filter((line) => line[7] === 'yes').length} of ${judged.length} targets met.\n`;
  const where = rows.filter((row) => row.where);
  if (where.length > 0) text += `\nWhere the time goes (1,000 readers, 10 senders with 4 under way):\n\n${where.map((row) => `- ${row.where}\n`).join('')}`;
  const version = spawnSync(program, ['version'], { encoding: 'utf8' }).stdout.split('\n')[0];
  const kinds = { 0xef53: 'ext4', 0x01021994: 'tmpfs', 0x58465342: 'xfs', 0x9123683e: 'btrfs' };
  const disk = kinds[statfsSync(dirname(data)).type] ?? 'another';
  text += `\n${new Date().toISOString().slice(0, 10)}, ${version}, --durability full, rates off, all else as it comes; data on ${disk}. ` +
    `${cpus().length} cores (${cpus()[0].model.trim()}), Linux ${release()}; server on one, load on another. Medians; the ratio is the median of the ratios within each round.\n`;
  return text + notes.map((note) => `- ${note}\n`).join('');
}
