// What would move the fan-out beyond one thread and one send() for each connection: the floor with io_uring, zero copy, a polling thread of the
// kernel and a second thread (floor_send.h), each beside the plain floor. First alone, without a generator, where a second thread has
// a core to itself; then with the generator, which on two cores loses half of its own to that thread: the wall clock tells that too.
//   SCENARIOS=experiments READERS='100 1000 5000' tools/bench/run
import { spawnSync } from 'node:child_process';
import { bothCores, load, note, out, pairs, seconds, serverCore, serverStop } from './machine.mjs';
import { peerStart } from './peers.mjs';
import { frameBytes, interleave, middle, ratios, row, summary } from './chat.mjs';

const ways = [
  { sends: 'uring', title: 'io_uring, one submission a turn' },
  { sends: 'zerocopy', title: 'io_uring, zero copy from registered buffers' },
  { sends: 'sqpoll', title: 'io_uring, sent by a polling thread of the kernel', cores: bothCores },
  { sends: 'threads', title: 'two threads', cores: bothCores },
];
const plain = { one: { sends: 'plain', cores: serverCore }, both: { sends: 'plain', cores: bothCores } };

function alone(readers, bytes, { sends, cores = serverCore }) {
  const run = spawnSync('taskset', ['-c', cores, `${out}/floor`, '--sends', sends, '--alone', String(readers), '--frame', String(bytes)], { encoding: 'utf8', timeout: 20000 });
  if (run.status === 0) return JSON.parse(run.stdout);
  note(`floor --sends ${sends}: ${run.stderr?.trim()}`);
}

async function beside(readers, senders, { sends, cores = serverCore }) {
  const server = await peerStart('floor', { frame: await frameBytes(), sends, cores });
  const figures = await load(server, `experiments, ${sends}`, ['--plain', '--connections', readers, '--senders', senders, '--outstanding', 4, '--warm', 0.4, '--duration', seconds, '--counts']);
  await serverStop(server);
  return figures;
}

// Each way beside the plain floor on the same cores.
function rowsOf(title, seen, fields) {
  const rows = [];
  for (const way of ways.filter(({ sends }) => seen[sends]?.some(Boolean))) {
    const base = seen[way.cores ? 'both' : 'one'];
    for (const [field, what] of fields) rows.push(row(`${title}${way.title}: ${what}`, middle(seen[way.sends], field), middle(base, field),
      { against: way.cores ? 'plain, both cores' : 'plain', form: 'rate', ...summary(ratios(seen[way.sends], base, field)) }));
  }
  return rows;
}

export async function experiments() {
  const rows = [], bytes = 28 * await frameBytes(); // as many frames as the floor has in a write with 100 readers
  for (const readers of (process.env.READERS ?? '100 1000 5000').split(/\s+/).map(Number)) {
    const senders = readers > 1000 ? 5 : 10, all = [...ways, ...Object.values(plain)], name = (way) => Object.keys(plain).find((key) => plain[key] === way) ?? way.sends;
    const each = (measure) => interleave(pairs, Object.fromEntries(all.map((way) => [name(way), { run: () => measure(way) }])));
    const lonely = await each((way) => alone(readers, bytes, way));
    rows.push(...rowsOf(`${readers.toLocaleString('en')} connections, no generator, ${bytes} bytes a send, `, lonely, [['sends_cpu_s', 'sends/CPU-s'], ['sends_s', 'sends/s']]));
    if (lonely.zerocopy.some(Boolean)) note(`zero copy: of the sends to ${readers} connections the kernel copied ${(middle(lonely.zerocopy, 'copied') * 100).toFixed(0)} % all the same`);
    const seen = await each((way) => beside(readers, senders, way));
    rows.push(...rowsOf(`${readers.toLocaleString('en')} readers, ${senders} senders with 4 under way, `, seen, [['deliveries_cpu_s', 'deliveries/CPU-s'], ['deliveries_s', 'deliveries/s'], ['per_write', 'frames a write']]));
  }
  return rows;
}
