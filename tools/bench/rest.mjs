// The scenarios of `make bench` in which no message flows: memory, start, pages, the writer alone, sizes, and where the time goes.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { cpuSeconds, data, failures, load, loadCore, median, note, off, out, oursStart, pairs, portFree, program, quick, rounds, seconds, seedFolder, seedMake, serverCore, serverStop, tokens } from './machine.mjs';
import { nginxStart, peerReady, peerStart, perf, strace, toolEnvironment, wrk } from './peers.mjs';
import { summary, wanted } from './chat.mjs';

async function memory() {
  const rows = [], sockets = quick ? 2000 : 10000;
  const idle = (count) => ['--connections', count, '--senders', 0, '--duration', quick ? 0.4 : 0.7];
  for (const [seed, people] of [['fifty', '50'], ['many', '10,000']]) {
    seedMake(seed);
    const server = await oursStart(seed, { flags: ['--max-sockets-per-user', '200'] });
    const seen = await load(server, 'memory', ['--tokens', tokens(seed), ...idle(sockets)]);
    await serverStop(server);
    if (!seen) continue;
    const start = seen.rss_start_kb / 1024, all = seen.rss_connected_kb / 1024;
    rows.push({ what: `memory at start, ${people} accounts: MB`, ours: start, own: true, most: seed === 'fifty' ? 4 : undefined });
    rows.push({ what: `… ${sockets.toLocaleString('en')} idle sockets: MB`, ours: all, own: true, most: sockets === 10000 ? (seed === 'fifty' ? 14 : 17) : undefined });
    rows.push({ what: '… KB a socket', ours: (seen.rss_connected_kb - seen.rss_start_kb) / sockets, own: true, most: seed === 'fifty' ? 1 : undefined });
    rows.push({ what: '… server CPU µs a handshake', ours: seen.handshake_us });
  }
  for (const peer of ['floor', 'bun', 'ws', 'original']) {
    if (peer !== 'floor' && (quick || !wanted(peer) || !peerReady(peer))) continue;
    const count = peer === 'original' ? Math.min(sockets, 3000) : sockets, server = await peerStart(peer);
    const seen = await load(server, 'memory', ['--plain', ...idle(count)]);
    await serverStop(server);
    if (seen) rows.push({ what: `… ${count.toLocaleString('en')} idle sockets: MB`, ours: rows[1]?.ours, other: seen.rss_connected_kb / 1024, against: peer, ratio: rows[1]?.ours / (seen.rss_connected_kb / 1024) });
  }
  return rows;
}

async function startOnce(path, command, { cores = serverCore, environment } = {}, port = undefined) {
  port ??= await portFree();
  const run = spawnSync('taskset', ['-c', loadCore, `${out}/start`, String(port), path, String(cores), ...command(port)], { encoding: 'utf8', env: { ...process.env, ...environment } });
  if (run.status !== 0) throw new Error(run.stderr);
  return JSON.parse(run.stdout);
}

async function start() {
  const rows = [], repeat = quick ? 3 : 9;
  const ours = async (title, most, before, folder) => {
    const list = [];
    for (let i = 0; i < repeat; i++) {
      before();
      const seen = await startOnce('/login', (port) => [program, 'serve', '--listen', `127.0.0.1:${port}`, '--data', folder, ...off]);
      if (!seen.ended_well || seen.answer !== 200) failures.push(`start, ${title}: ${JSON.stringify(seen)}`);
      list.push(seen.start_ms);
    }
    rows.push({ what: `start to the first byte, ${title}: ms`, ours: median(list), low: Math.min(...list), high: Math.max(...list), count: repeat, own: true, most });
  };
  const copy = (seed) => () => {
    rmSync(data, { recursive: true, force: true });
    if (seed) cpSync(seedFolder(seed), data, { recursive: true });
  };
  seedMake('wal');
  seedMake('million');
  rmSync(data, { recursive: true, force: true });
  await startOnce('/login', (port) => [program, 'serve', '--listen', `127.0.0.1:${port}`, '--data', data, ...off]);
  await ours('no messages', 3, () => {}, data);
  await ours('no database yet', undefined, copy(), data);
  spawnSync('cat', [`${seedFolder('million')}/chatterbox.db`], { stdio: 'ignore' });
  await ours(`${quick ? 1 : 10} million messages`, 10, () => {}, seedFolder('million'));
  await ours('after kill -9, a log of 16 MiB', 300, copy('wal'), data);
  copy()();
  return rows;
}

async function history() {
  const count = { thousand: 10000, million: quick ? 1e6 : 1e7 }, seen = { thousand: [], million: [] };
  seedMake('thousand');
  seedMake('million');
  for (let i = 0; i < rounds; i++)
    for (const seed of ['thousand', 'million']) {
      const server = await oursStart(seed, { inPlace: true });
      const figures = await load(server, 'history', ['--tokens', tokens(seed), '--connections', 1, '--get', '/api/rooms/1/messages?limit=50&before=%r', '--low', 1000, '--high', count[seed], '--warm', 0.3, '--duration', quick ? 0.7 : 2]);
      await serverStop(server);
      if (figures) seen[seed].push({ ...figures, us: 1e6 / figures.requests_cpu_s });
    }
  const of = (seed, field) => seen[seed].map((x) => x[field]);
  const ratio = (field) => summary(of('million', field).map((x, i) => x / of('thousand', field)[i]));
  const title = `a page of 50 messages anywhere in ${quick ? 1 : 10} million`;
  return [
    { what: `${title}: p50 ms`, ours: median(of('million', 'p50_ms')), other: median(of('thousand', 'p50_ms')), against: 'in 10,000', ...ratio('p50_ms'), most: 1.3 },
    { what: '… server CPU µs', ours: median(of('million', 'us')), other: median(of('thousand', 'us')), against: 'in 10,000', ...ratio('us') },
    { what: '… p99 ms', ours: median(of('million', 'p99_ms')), own: true, low: Math.min(...of('million', 'p99_ms')), high: Math.max(...of('million', 'p99_ms')), most: 1 },
  ];
}

/** Requests per second of server CPU: 64 kept connections, wrk on its core. */
async function ask(server, path, headers) {
  const options = headers.flatMap((h) => ['-H', h]), duration = 1;
  const run = (time) => new Promise((resolve) => {
    const child = spawn('taskset', ['-c', loadCore, wrk(), '-t1', '-c64', `-d${time}s`, ...options, `${server.url}${path}`], { env: { ...process.env, ...toolEnvironment } });
    let said = '';
    child.stdout.on('data', (text) => (said += text));
    child.on('close', () => resolve(said));
  });
  await run(1);
  const before = cpuSeconds(server.pid), said = await run(duration), cpu = cpuSeconds(server.pid) - before;
  const requests = Number(said.match(/(\d+) requests in/)?.[1]), rate = Number(said.match(/Requests\/sec:\s*([\d.]+)/)?.[1]);
  if (/Non-2xx/.test(said)) failures.push(`page: ${server.name} did not answer 200: ${said}`);
  return { cpu_s: requests / cpu, s: rate };
}

async function page() {
  if (!wrk()) {
    note('wrk: not to be had here; no page rows');
    return [];
  }
  const rows = [];
  seedMake('small');
  const cookie = `Cookie: chatterbox=${readFileSync(tokens('small'), 'utf8').split('\n')[0]}`, gzip = 'Accept-Encoding: gzip';
  for (const [title, path, headers] of [['the chat page', '/', [gzip, cookie]], ['the login page', '/login', [gzip]]]) {
    const seen = { ours: [], nginx: [] }, server = await oursStart('small');
    // As it goes over the wire: fetch would unpack it.
    const raw = spawnSync('curl', ['-s', ...headers.flatMap((h) => ['-H', h]), `${server.url}${path}`]).stdout, bytes = raw.length;
    const nginx = wanted('nginx') && peerReady('nginx') ? await nginxStart(raw) : undefined;
    // Both are there all the time, and who is asked first changes: a machine that gets slower favours nobody.
    for (let i = 0; i < pairs; i++)
      for (const name of i % 2 ? ['nginx', 'ours'] : ['ours', 'nginx']) {
        if (name === 'ours') seen.ours.push(await ask(server, path, headers));
        else if (nginx) seen.nginx.push(await ask(nginx, '/page', headers));
      }
    await serverStop(server);
    if (nginx) await serverStop(nginx);
    const of = (name, field) => seen[name].map((x) => x[field]);
    for (const [field, what, least] of [['cpu_s', 'requests/CPU-s', 1], ['s', 'requests/s', undefined]])
      rows.push({ what: `${field === 's' ? '…' : `${title}, gzip (${bytes} bytes), 64 kept connections:`} ${what}`, form: 'rate', ours: median(of('ours', field)),
        ...(seen.nginx.length > 0 ? { other: median(of('nginx', field)), against: 'nginx', ...summary(of('ours', field).map((x, k) => x / of('nginx', field)[k])), least } : {}) });
  }
  return rows;
}

// Another program's table: batch | ours | bare | ratio (quartiles) | …, in messages a second; a star: with random nonces.
async function store() {
  if (!existsSync(`${out}/store_bench`)) return [{ what: 'the writer without network, batches of 1, 40, 400', against: 'bare SQLite' }];
  const folder = `${data}-store`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const run = spawnSync('taskset', ['-c', serverCore, `${out}/store_bench`, 'compare', folder, quick ? '3' : '7'], { encoding: 'utf8', timeout: 90000 });
  rmSync(folder, { recursive: true, force: true });
  if (run.status !== 0) throw new Error(run.stderr);
  return [...run.stdout.matchAll(/^\s*(\d+)(\*?)\s*\|\s*(\d+) \|\s*(\d+) \| ([\d.]+) \(([\d.]+) - ([\d.]+)\)/gm)].map(([, batch, star, ours, bare, ratio, low, high]) => ({
    what: `the writer without network, batches of ${batch}${star ? ', random nonces' : ''}: messages/s`, form: 'rate', ours: Number(ours), other: Number(bare),
    against: 'bare SQLite', ratio: Number(ratio), low: Number(low), high: Number(high), least: 0.8 }));
}

async function sizes() {
  const mb = (file) => statSync(file).size / 1e6;
  const rows = [{ what: 'the program, stripped, development build: MB', ours: mb(program), own: true, most: 3.5 }];
  const release = existsSync('build/release') ? readdirSync('build/release').filter((f) => /^chatterbox-[\d.]+-/.test(f) && !f.includes('.debug')) : [];
  for (const file of release) rows.push({ what: `… ${file}`, ours: mb(`build/release/${file}`), own: true, most: 1.6 });
  if (release.length === 0) rows.push({ what: '… musl release: MB (`make release` makes it)', own: true });
  return rows;
}

/** What one second at 1,000 readers consists of: system calls of ours and of the floor, user and kernel, the hottest functions. */
async function where() {
  const lines = [], options = ['--connections', 1000, '--senders', 10, '--outstanding', 4, '--warm', 0.5];
  const debug = existsSync('build/chatterbox.debug') ? 'build/chatterbox.debug' : program;
  seedMake('small');
  const started = (name, binary) => (name === 'ours' ? oursStart('small', { binary }) : peerStart(name, { frame: 170 }));
  const who = (name) => (name === 'ours' ? ['--tokens', tokens('small')] : ['--plain']);
  for (const name of ['ours', 'floor']) {
    const server = await started(name, program);
    const quiet = await load(server, 'where', [...who(name), ...options, '--duration', 1, '--counts']);
    lines.push(`${name}: user ${(quiet.cpu_user / quiet.cpu * 100).toFixed(0)} %, kernel ${(quiet.cpu_system / quiet.cpu * 100).toFixed(0)} % of ${quiet.cpu.toFixed(2)} cores; ` +
      `${quiet.per_write.toFixed(1)} frames a write${quiet.per_commit > 0 ? `, ${quiet.per_commit.toFixed(1)} operations a commit` : ''}; the load used ${quiet.cpu_load.toFixed(2)} cores`);
    if (strace()) {
      const busy = load(server, 'where', [...who(name), ...options, '--duration', 4]);
      await new Promise((resolve) => setTimeout(resolve, 1800)); // all are connected
      const tracer = spawn(strace(), ['-c', '-f', '-p', String(server.pid)], { env: { ...process.env, ...toolEnvironment } });
      let counted = '';
      tracer.stderr.on('data', (text) => (counted += text));
      setTimeout(() => tracer.kill('SIGINT'), 2000);
      await new Promise((resolve) => tracer.on('close', resolve));
      await busy;
      const calls = [...counted.matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/gm)].map(([, n, call]) => ({ n: Number(n), call })).filter((x) => x.call !== 'total').sort((a, b) => b.n - a.n);
      const turns = calls.find((x) => x.call.startsWith('epoll_'))?.n || 1;
      if (calls.length > 0) lines.push(`${name}: system calls for each epoll_wait (strace -c): ${calls.slice(0, 9).map((x) => `${x.call} ${(x.n / turns).toFixed(x.n / turns < 10 ? 2 : 0)}`).join(', ')}`);
    }
    await serverStop(server);
  }
  if (perf()) {
    const server = await started('ours', debug), file = `${out}/perf.data`;
    const busy = load(server, 'where', [...who('ours'), ...options, '--duration', 2]);
    await new Promise((resolve) => setTimeout(resolve, 900));
    const record = spawn(perf(), ['record', '-q', '-F', '997', '-p', String(server.pid), '-o', file, '--', 'sleep', '1.2'], { stdio: 'ignore' });
    await new Promise((resolve) => record.on('close', resolve));
    await busy;
    await serverStop(server);
    const report = spawnSync(perf(), ['report', '--stdio', '-i', file, '--no-children', '--percent-limit', '0.8', '-F', 'overhead,symbol'], { encoding: 'utf8' }).stdout ?? '';
    const hot = [...report.matchAll(/^\s*([\d.]+)%\s+\[(.)\]\s+(.+?)\s*$/gm)].slice(0, 16).map(([, share, side, name]) => `${name}${side === 'k' ? ' (kernel)' : ''} ${share} %`);
    if (hot.length > 0) lines.push(`ours: hottest functions (perf): ${hot.join(', ')}`);
    rmSync(file, { force: true });
  }
  return lines.map((text) => ({ where: text }));
}

export const others = { memory, start, history, page, store, sizes, where };
