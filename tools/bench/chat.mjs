// The scenarios of `make bench` in which messages flow: each starts its servers in turn, several rounds, and gives rows for the table.
import { load, median, oursStart, pairs, quantile, quick, rounds, seconds, seedMake, serverStop, tokens, bothCores, loadCore, serverCore } from './machine.mjs';
import { peerReady, peerStart } from './peers.mjs';

let frame; // length of a message as ours delivers it
export async function frameBytes() {
  if (frame) return frame;
  seedMake('small');
  const server = await oursStart('small');
  const seen = await load(server, 'prepare', ['--tokens', tokens('small'), '--connections', 20, '--senders', 10, '--warm', 0.1, '--duration', 0.2]);
  await serverStop(server);
  return (frame = seen.frame_bytes);
}

/** One measurement of one server, started for it. */
async function once(name, scenario, options, { seed = 'small', flags, cores } = {}) {
  const server = name === 'ours' ? await oursStart(seed, { flags, cores }) : await peerStart(name, { frame: await frameBytes() });
  const figures = await load(server, scenario, [...(name === 'ours' ? ['--tokens', tokens(seed)] : ['--plain']), ...options]);
  await serverStop(server);
  return figures;
}

/** `count` rounds of several ways to measure, each round in another order, so that a machine that gets slower favours nobody. */
export async function interleave(count, ways) {
  const seen = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let i = 0; i < count; i++) {
    const names = Object.keys(ways).filter((name) => i < (ways[name].rounds ?? count));
    for (const name of i % 2 ? names.reverse() : names) seen[name].push(await ways[name].run());
  }
  return seen;
}

// Of those pairs in which both were measured.
export const ratios = (ours, other, field) => ours.map((x, i) => x?.[field] / other[i]?.[field]).filter(Number.isFinite);
export const middle = (list, field) => median(list.filter(Boolean).map((x) => x[field]));
export const row = (what, ours, other, options) => ({ what, ours, other, ...options });
export const summary = (list) => ({ ratio: median(list), low: Math.min(...list), high: Math.max(...list), quartile: quantile(list, 0.25), count: list.length });

async function fan(name, readers, senders, targets) {
  const options = ['--connections', readers, '--senders', senders, '--outstanding', 4, '--warm', 0.4, '--duration', seconds, '--counts'];
  const few = Math.min(pairs, rounds);
  const ways = { ours: { run: () => once('ours', name, options) }, floor: { run: () => once('floor', name, options) } };
  for (const peer of ['bun', 'ws', 'original']) {
    if (quick && (peer === 'original' || readers > 1000)) continue;
    // What is under way there takes it seconds to deliver: a short look would see the backlog of the beginning rather than the pace.
    const run = () => once(peer, name, peer === 'original' ? [...options, '--duration', seconds * Math.min(4, Math.max(1, readers / 500))] : options);
    if (wanted(peer) && peerReady(peer)) ways[peer] = { rounds: peer === 'bun' ? few : Math.min(few, readers > 1000 ? 1 : 3), run };
  }
  const seen = await interleave(pairs, ways);
  const title = `${readers.toLocaleString('en')} readers, ${senders} senders with 4 under way`;
  const rows = [row(`${title}: deliveries/CPU-s`, middle(seen.ours, 'deliveries_cpu_s'), middle(seen.floor, 'deliveries_cpu_s'),
    { against: 'floor', form: 'rate', ...summary(ratios(seen.ours, seen.floor, 'deliveries_cpu_s')), judge: 'quartile', least: targets.floor, aim: targets.aim })];
  rows.push(row('… deliveries/s', middle(seen.ours, 'deliveries_s'), middle(seen.floor, 'deliveries_s'), { against: 'floor', form: 'rate', ...summary(ratios(seen.ours, seen.floor, 'deliveries_s')) }));
  rows.push(row('… frames a write', middle(seen.ours, 'per_write'), middle(seen.floor, 'per_write'), { against: 'floor', ...summary(ratios(seen.ours, seen.floor, 'per_write')), least: 0.9 }));
  rows.push(row('… p99 ms', middle(seen.ours, 'p99_ms'), middle(seen.floor, 'p99_ms'), { against: 'floor', ...summary(ratios(seen.ours, seen.floor, 'p99_ms')) }));
  for (const peer of ['bun', 'ws', 'original'])
    if (seen[peer]?.some(Boolean)) rows.push(row('… deliveries/CPU-s', middle(seen.ours, 'deliveries_cpu_s'), middle(seen[peer], 'deliveries_cpu_s'),
      { against: peer, form: 'rate', ...summary(ratios(seen.ours, seen[peer], 'deliveries_cpu_s')), least: targets[peer] }));
  if (seen.bun?.some(Boolean)) rows.push(row('… bun: deliveries/CPU-s', middle(seen.bun, 'deliveries_cpu_s'), middle(seen.floor, 'deliveries_cpu_s'),
    { against: 'floor', form: 'rate', ...summary(ratios(seen.bun, seen.floor, 'deliveries_cpu_s')) }));
  return rows;
}

export const wanted = (peer) => (process.env.PEERS ?? 'bun ws original nginx').split(/\s+/).includes(peer);

async function rate50() {
  const options = ['--connections', 1000, '--senders', 10, '--rate', 50, '--warm', 0.5, '--duration', quick ? 2 : 4];
  const ways = { ours: { run: () => once('ours', 'rate50', options) }, floor: { run: () => once('floor', 'rate50', options) } };
  for (const peer of ['bun', 'ws']) if (!quick && wanted(peer) && peerReady(peer)) ways[peer] = { rounds: Math.min(3, pairs), run: () => once(peer, 'rate50', options) };
  const seen = await interleave(Math.min(pairs, 5), ways);
  const rows = [
    row('50 messages/s, 1,000 readers: p99 ms', middle(seen.ours, 'p99_ms'), middle(seen.floor, 'p99_ms'), { against: 'floor', ...summary(ratios(seen.ours, seen.floor, 'p99_ms')), most: 1.25 }),
    row('… share of a core', middle(seen.ours, 'cpu'), middle(seen.floor, 'cpu'), { against: 'floor', ...summary(ratios(seen.ours, seen.floor, 'cpu')), most: 1.25 }),
  ];
  for (const peer of ['bun', 'ws']) if (seen[peer]?.some(Boolean)) rows.push(row('… p99 ms', middle(seen.ours, 'p99_ms'), middle(seen[peer], 'p99_ms'), { against: peer, ...summary(ratios(seen.ours, seen[peer], 'p99_ms')) }));
  return rows;
}

async function rooms() {
  seedMake('rooms');
  const common = ['--warm', 0.5, '--duration', quick ? 1 : 2.5, '--counts'];
  const with_rooms = (options) => async () => {
    const seen = await once('ours', 'rooms', [...options, ...common], { seed: 'rooms' });
    return seen && { ...seen, us: 1e6 / seen.deliveries_cpu_s };
  };
  const seen = await interleave(rounds, {
    many: { run: with_rooms(['--connections', 500, '--senders', 500, '--rate', 2000, '--all-rooms']) },
    one: { run: with_rooms(['--connections', 50, '--senders', 50, '--rate', 2000]) },
    wide: { run: with_rooms(['--connections', 500, '--senders', 500, '--rate', 200]) },
  });
  return [
    row('200 rooms of 50, everybody in 20, 2,000 messages/s: CPU µs a delivery', middle(seen.many, 'us'), middle(seen.one, 'us'), { against: 'one room of 50, 2,000/s', ...summary(ratios(seen.many, seen.one, 'us')), most: 1.3 }),
    row('… CPU µs a delivery', middle(seen.many, 'us'), middle(seen.wide, 'us'), { against: 'one room whose readers get as many each (500 at 200/s)', ...summary(ratios(seen.many, seen.wide, 'us')), most: 1.3 }),
    row('… frames a write', middle(seen.many, 'per_write'), middle(seen.one, 'per_write'), { against: 'one room of 50, 2,000/s', ...summary(ratios(seen.many, seen.one, 'per_write')) }),
  ];
}

async function stored() {
  const seen = [];
  for (let i = 0; i < rounds; i++) seen.push(await once('ours', 'stored', ['--connections', 2, '--senders', 1, '--outstanding', 1000, '--warm', 0.5, '--duration', seconds, '--counts']));
  const rates = seen.filter(Boolean).map((x) => x.sent_s);
  return [
    row('one sender, 1,000 under way, one reader: messages stored/s', median(rates), undefined, { form: 'rate', low: Math.min(...rates), high: Math.max(...rates), count: rates.length, own: true, least: 60000 }),
    row('… operations a commit', middle(seen, 'per_commit'), undefined, {}),
    row('… p99 ms', middle(seen, 'p99_ms'), undefined, {}),
  ];
}

async function stalled() {
  const seen = await once('ours', 'stalled', ['--connections', 5000, '--senders', 5, '--outstanding', 4, '--stalled', 500, '--text', 500, '--warm', 0.5, '--duration', quick ? 3 : 6]);
  if (!seen) return [];
  return [
    row('5,000 readers at full rate, 500 never read: memory more than idle, MB', (seen.rss_peak_kb - seen.rss_connected_kb) / 1024, undefined, { own: true, most: 4 }),
    row('… longest queue in the kernel, KB', seen.kernel_queue_longest_kb, undefined, { own: true, most: 64 }),
    row('… deliveries/s to those who read', seen.deliveries_s, undefined, { form: 'rate' }),
  ];
}

async function resume() {
  // Each coming back is over after some 20 messages: of five, the p99 would be the one message that was worst.
  const seen = await once('ours', 'resume', ['--connections', 100, '--senders', 10, '--rate', 200, '--warm', 0.5, '--duration', quick ? 1 : 3, '--resume', 1000, '--behind', 100, '--repeat', quick ? 3 : 12]);
  if (!seen) return [];
  return [
    row('1,000 sockets come back at once, 100 messages behind: all ready, s', seen.resume_s, undefined, { high: seen.resume_max_s, own: true, most: 1 }),
    row('… chat p99 ms meanwhile', seen.disturbed_p99_ms, seen.p99_ms, { against: 'quiet', ratio: seen.disturbed_p99_ms / seen.p99_ms, most: 3 }),
  ];
}

async function flood() {
  const rows = [];
  const measure = (cores) => once('ours', 'flood', ['--connections', 100, '--senders', 10, '--rate', 100, '--warm', 0.5, '--duration', quick ? 1 : 2.5,
    '--flood', 50, '--flood-name', 'user101', '--flood-password', 'a measured word'], { cores });
  const seen = await interleave(rounds, { two: { run: () => measure(bothCores) }, one: { run: () => measure(serverCore) } });
  for (const [name, title, most] of [['two', 'two cores', 1.5], ['one', 'one core', 3]]) {
    if (name === 'two' && serverCore === loadCore) continue;
    const list = seen[name].filter(Boolean).map((x) => x.disturbed_p99_ms / x.p99_ms);
    rows.push(row(`50 logins at once, ${title}: chat p99 ms`, middle(seen[name], 'disturbed_p99_ms'), middle(seen[name], 'p99_ms'), { against: 'quiet', ...summary(list), most }));
  }
  rows.push(row('… logins/s, two cores', middle(seen.two, 'logins_s'), middle(seen.one, 'logins_s'), { against: 'one core', ...summary(ratios(seen.two, seen.one, 'logins_s')) }));
  return rows;
}

async function deflate() {
  const bytes = 1000, common = ['--connections', 1000, '--senders', 10, '--rate', 100, '--text', bytes, '--warm', 0.5, '--duration', quick ? 1 : 2.5];
  const seen = await interleave(rounds, {
    on: { run: () => once('ours', 'deflate', [...common, '--deflate'], { flags: ['--deflate', 'on'] }) },
    off: { run: () => once('ours', 'deflate', common, { flags: ['--deflate', 'off'] }) },
  });
  return [
    row(`compressed (texts of ${bytes} bytes), 1,000 readers, 100 messages/s: MB/s on the wire`, middle(seen.on, 'mbytes_s'), middle(seen.off, 'mbytes_s'), { against: 'off', ...summary(ratios(seen.on, seen.off, 'mbytes_s')), most: 0.5 }),
    row('… share of a core', middle(seen.on, 'cpu'), middle(seen.off, 'cpu'), { against: 'off', ...summary(ratios(seen.on, seen.off, 'cpu')), most: 1.3 }),
  ];
}

export const scenarios = {
  n100: () => fan('n100', 100, 10, { floor: 0.7, aim: 0.85, bun: 1.5, original: 100 }),
  n1000: () => fan('n1000', 1000, 10, { floor: 0.8, aim: 0.9, bun: 1.5, original: 100 }),
  n5000: () => fan('n5000', 5000, 5, { floor: 0.9, aim: 0.95, bun: 1.05, original: 100 }),
  rate50, rooms, stored, stalled, resume, flood, deflate,
};
