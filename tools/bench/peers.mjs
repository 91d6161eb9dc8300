// The other servers and tools of `make bench`: npm packages in build/npm-bench, Debian packages only unpacked in build/peers. What
// is on the system already is used from there. What cannot be had is named and left out.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { note, out, portFree, say, serverStart } from './machine.mjs';

// Exact, so that figures can be compared.
const versions = { ws: '8.18.3', bun: '1.4.5' };
const bunPackage = { x64: '@oven/bun-linux-x64', arm64: '@oven/bun-linux-aarch64' }[process.arch];
const bunProgram = `build/npm-bench/bun/node_modules/${bunPackage}/bin/bun`;
const libraries = `${resolve('build/peers/usr/lib')}/${{ x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch]}`;
const environment = { LD_LIBRARY_PATH: libraries, PYTHONPATH: resolve('build/peers/usr/lib/python3/dist-packages') };

const runs = (command, options, env = {}) => {
  const run = spawnSync(command, options, { encoding: 'utf8', env: { ...process.env, ...env } });
  return run.status === 0 ? run.stdout + run.stderr || ' ' : '';
};

function npmGet(folder, what) { // each in a folder of its own, for npm takes away what it was not asked for
  const to = `build/npm-bench/${folder}`, mark = `${to}/installed`;
  if (existsSync(mark) && readFileSync(mark, 'utf8').trim() === what) return true;
  say(`fetching ${what}`);
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  writeFileSync(`${to}/package.json`, '{"private": true}');
  const npm = spawnSync('npm', ['install', '--prefix', to, '--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts', what], { timeout: 120000 });
  if (npm.status === 0) writeFileSync(mark, what);
  return npm.status === 0;
}

/** Puts Debian packages, with those of their dependencies that the system lacks, under build/peers. */
function aptGet(file, ...packages) {
  if (existsSync(`build/peers/${file}`)) return true;
  say(`fetching ${packages.join(' ')}`);
  const wanted = () => [...runs('apt-get', ['-s', '--no-install-recommends', 'install', ...packages]).matchAll(/^Inst (\S+)/gm)].map((line) => line[1]);
  let names = wanted();
  if (names.length === 0 && process.getuid() === 0) {
    spawnSync('apt-get', ['-qq', 'update'], { timeout: 60000 });
    names = wanted();
  }
  const folder = resolve('build/peers/deb');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // _apt, apt's own user, may not write here: apt says so and fetches as root.
  spawnSync('apt-get', ['-qq', 'download', ...(names.length > 0 ? names : packages)], { cwd: folder, timeout: 120000 });
  for (const deb of readdirSync(folder)) if (deb.endsWith('.deb')) spawnSync('dpkg-deb', ['-x', `${folder}/${deb}`, resolve('build/peers')]);
  rmSync(folder, { recursive: true, force: true });
  return existsSync(`build/peers/${file}`);
}

const tool = (command, file, ...packages) =>
  runs('sh', ['-c', `command -v ${command}`]).trim() || (aptGet(file, ...packages) ? resolve(`build/peers/${file}`) : '');

const found = {};
export const wrk = () => (found.wrk ??= tool('wrk', 'usr/bin/wrk', 'wrk'));
export const strace = () => (found.strace ??= tool('strace', 'usr/bin/strace', 'strace'));
export const perf = () => (found.perf ??= runs('sh', ['-c', 'command -v perf']).trim());
export const toolEnvironment = { LD_LIBRARY_PATH: libraries };

const ready = {
  floor: () => true,
  bun: () => Boolean(bunPackage) && npmGet('bun', `${bunPackage}@${versions.bun}`) && runs(bunProgram, ['--version']) !== '',
  ws: () => npmGet('ws', `ws@${versions.ws}`),
  original: () => (runs('/usr/bin/python3', ['-c', 'import fastapi, uvicorn, websockets']) !== '' ||
    aptGet('usr/lib/python3/dist-packages/fastapi', 'python3-fastapi', 'python3-uvicorn', 'python3-websockets')) &&
    runs('/usr/bin/python3', ['-c', 'import fastapi, uvicorn, websockets'], environment) !== '',
  nginx: () => Boolean(found.nginx ??= tool('nginx', 'usr/sbin/nginx', 'nginx-light')) && runs(found.nginx, ['-v'], environment) !== '',
};
const descriptions = {
  floor: () => 'floor: one thread, one write for each connection and turn, nothing parsed or stored; its messages are as long as ours',
  bun: () => `Bun ${versions.bun}: its own WebSocket server (uWebSockets inside) and publish, stores nothing`,
  ws: () => `Node ${process.version} with ws ${versions.ws}: stores nothing`,
  original: () => `original: FastAPI and uvicorn from Debian, one SQLite commit (rollback journal, full) for each message (tools/bench/peer-original.py)`,
  nginx: () => runs(found.nginx, ['-v'], environment).trim(),
};

const known = {};
/** True if this server can be had; fetches it. */
export function peerReady(name) {
  known[name] ??= ready[name]();
  note(known[name] ? descriptions[name]() : `${name}: not to be had here, left out`);
  return known[name];
}

/** Starts one. `frame`: length of a message, `page`: of the page, `sends`: the floor's way to send. */
export async function peerStart(name, { frame = 0, page = 1, sends = 'plain', cores } = {}) {
  if (name === 'floor') return serverStart(name, [`${out}/floor`, '--frame', String(frame), '--page', String(page), '--sends', sends], { cores });
  if (name === 'bun') return serverStart(name, [bunProgram, 'tools/bench/peer-bun.mjs', String(page)]);
  if (name === 'ws') return serverStart(name, ['node', 'tools/bench/peer-ws.mjs', 'build/npm-bench/ws', String(page)]);
  rmSync(`${out}/original.db`, { force: true });
  return serverStart(name, ['/usr/bin/python3', 'tools/bench/peer-original.py', String(page), `${out}/original.db`], { environment });
}

/** nginx with its file cache, serving these gzipped bytes at /page. Without sendfile, which costs such a short page two calls more. */
export async function nginxStart(body) {
  const folder = resolve(`${out}/nginx`), port = await portFree();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/page`, body);
  writeFileSync(`${folder}/conf`, `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/log;
events { worker_connections 1024; }
http {
  access_log off; sendfile off; tcp_nodelay on; keepalive_requests 1000000000;
  open_file_cache max=100 inactive=1h; open_file_cache_valid 1h; open_file_cache_min_uses 1;
  client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c; uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
  server { listen 127.0.0.1:${port}; root ${folder}; location = /page { default_type text/html; add_header Content-Encoding gzip; add_header Vary Accept-Encoding; } }
}
`);
  return serverStart('nginx', [found.nginx, '-e', `${folder}/log`, '-c', `${folder}/conf`], { port, environment });
}
