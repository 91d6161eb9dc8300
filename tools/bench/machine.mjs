// What `make bench` does with processes: a server on one core, the load generator on another, their figures, their end.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';

export const out = 'build/bench';
export const program = `${out}/chatterbox`; // as it was when we began, whatever is built meanwhile
export const data = process.env.BENCH_DATA ?? `${out}/data`;
export const quick = Boolean(process.env.QUICK) && process.env.QUICK !== '0';
export const seconds = Number(process.env.SECS ?? (quick ? 0.7 : 2));
export const pairs = Number(process.env.PAIRS ?? (quick ? 2 : 7));
export const rounds = Number(process.env.ROUNDS ?? (quick ? 2 : 3));

/** Limits and options as a plain start has them, only the rates off. */
export const off = ['--message-rate', 'off', '--request-rate', 'off', '--login-rate', 'off', '--log-level', 'warn'];

export const failures = [];
export const notes = [];
export const say = (text) => console.error(`bench: ${text}`);
export const note = (text) => {
  if (!notes.includes(text)) notes.push(text);
};

// The cores that we may use, such as [0, 1]: the first is the server's, the last the load's.
const allowed = readFileSync('/proc/self/status', 'utf8').match(/^Cpus_allowed_list:\s*(.*)$/m)[1].split(',').flatMap((range) => {
  const [from, to = from] = range.split('-').map(Number);
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
});
export const serverCore = String(allowed[0]), loadCore = String(allowed.at(-1)), bothCores = `${serverCore},${loadCore}`;
if (serverCore === loadCore) note('one core only: server and load share it');

export const sorted = (list) => [...list].sort((a, b) => a - b);
export function quantile(list, share) {
  const s = sorted(list), at = (s.length - 1) * share, low = Math.floor(at);
  return s.length === 0 ? NaN : s[low] + (s[Math.min(low + 1, s.length - 1)] - s[low]) * (at - low);
}
export const median = (list) => quantile(list, 0.5);

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export function portFree() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Starts a server that says `listening on http://127.0.0.1:PORT`, or that listens on `port` once it takes connections. */
export async function serverStart(name, command, { cores = serverCore, port, environment = {} } = {}) {
  const child = spawn('taskset', ['-c', cores, ...command], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
  running.add(child);
  const server = { name, child, pid: child.pid, port, log: '' };
  server.ended = new Promise((resolve) => child.on('exit', (code, signal) => {
    running.delete(child);
    server.over = true;
    resolve(code ?? signal);
  }));
  child.on('error', () => {});
  child.stderr.on('data', (text) => (server.log += text));
  let said = '';
  child.stdout.on('data', (text) => (said += text));
  for (let waited = 0; ; waited += 2) {
    if (server.over || waited > 20000) throw new Error(`${name} does not start: ${server.log.trim().split('\n').at(-1)}`);
    const found = said.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
    if (found) server.port = Number(found[1]);
    if (server.port && (found || (port && await fetch(`http://127.0.0.1:${port}/`).then((r) => r.arrayBuffer(), () => null)))) break;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  server.url = `http://127.0.0.1:${server.port}`;
  return server;
}

/** Ends it. Ours must end well by itself. */
export async function serverStop(server, ours = server.name === 'ours') {
  const early = server.over;
  server.child.kill('SIGTERM');
  const timer = setTimeout(() => server.child.kill('SIGKILL'), 6000);
  const result = await server.ended;
  clearTimeout(timer);
  if (ours && (early || result !== 0)) failures.push(`the server did not end well: ${result} ${server.log.trim()}`);
}

/** ChatterBox on a copy of a seed. */
export async function oursStart(seed, { flags = [], cores, inPlace = false, binary = program } = {}) {
  let folder = data;
  seedMake(seed);
  if (inPlace) folder = seedFolder(seed);
  else {
    rmSync(data, { recursive: true, force: true });
    cpSync(seedFolder(seed), data, { recursive: true });
  }
  return serverStart('ours', [binary, 'serve', '--listen', '127.0.0.1:0', '--data', folder, '--durability', 'full', ...off, ...flags], { cores });
}

/** Runs build/load on its core; the figures, or nothing if it failed. What is lost or doubled by ours is a failure. */
export async function load(server, scenario, options) {
  const run = spawn('taskset', ['-c', loadCore, 'build/load', '--json', '--label', server.name, '--pid', String(server.pid), '--limit', '100', ...options.map(String), server.url]);
  running.add(run);
  let said = '', error = '';
  run.stdout.on('data', (text) => (said += text));
  run.stderr.on('data', (text) => (error += text));
  const status = await new Promise((resolve) => run.on('close', resolve));
  running.delete(run);
  if (status !== 0) {
    const why = `${scenario}, ${server.name}: ${error.trim() || (said.match(/"missing":.*?"closed":\d+/) ?? [])[0]} (status ${status})`;
    if (server.name === 'ours') failures.push(why);
    else note(why);
    if (status !== 3) return undefined;
  }
  const figures = JSON.parse(said);
  appendFileSync(`${out}/results.jsonl`, `${JSON.stringify({ scenario, at: new Date().toISOString(), ...figures })}\n`);
  return figures;
}

/** CPU seconds of all threads of a process so far. */
export function cpuSeconds(pid) {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  return ns / 1e9;
}

// ---------------------------------------------------------------- seeds: data folders made once

const seeds = {
  small: ['--users', '101'], // the last one has no socket
  fifty: ['--users', '50'],
  many: ['--users', '10000'],
  rooms: ['--users', '500', '--rooms', '200', '--each', '20'],
  thousand: ['--users', '50', '--messages', '10000'],
  million: ['--users', '50', '--messages', String(quick ? 1e6 : 1e7)],
  wal: ['--users', '50', '--messages', '10000', '--wal', '16'],
};
// Made anew when the schema has changed, or how they are made.
const form = createHash('sha256').update(readFileSync('src/store/schema.sql')).update(readFileSync('tools/bench/seed.cpp')).digest('hex').slice(0, 12);
const seedKey = (name) => `${name}-${createHash('sha256').update(form + seeds[name].join(' ')).digest('hex').slice(0, 12)}`;
export const seedFolder = (name) => `${out}/seeds/${seedKey(name)}`;
export const tokens = (name) => `${out}/seeds/${seedKey(name)}.tokens`;

export function seedMake(name) {
  const folder = seedFolder(name), maker = `${out}/seed`;
  if (existsSync(tokens(name))) return;
  mkdirSync(`${out}/seeds`, { recursive: true });
  for (const old of readdirSync(`${out}/seeds`)) if (old.startsWith(`${name}-`)) rmSync(`${out}/seeds/${old}`, { recursive: true, force: true });
  if (name === 'million') say(`making ${quick ? 1 : 10} million messages`);
  const begun = Date.now();
  const made = spawnSync(maker, [folder, ...seeds[name], '--tokens', `${tokens(name)}.part`], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`no data: ${made.stderr}`);
  cpSync(`${tokens(name)}.part`, tokens(name));
  rmSync(`${tokens(name)}.part`);
  if (name === 'million') say(`… in ${((Date.now() - begun) / 1000).toFixed(0)} s`);
}
