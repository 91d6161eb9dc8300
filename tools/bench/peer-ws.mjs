// A peer for `make bench`: what most people would write, a chat server of a few lines on Node.js and the npm package `ws`. It hands each message on to
// everybody and stores nothing. `peer-ws.mjs FOLDER PAGE_BYTES`: FOLDER is where npm has put `ws`.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [folder, pageBytes] = process.argv.slice(2);
const { WebSocketServer } = createRequire(resolve(folder) + '/')('ws');
const page = Buffer.alloc(Number(pageBytes), '.');

const server = createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Length': page.length });
  response.end(page);
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on('connection', (socket) => {
  socket.on('message', (data) => {
    for (const other of sockets.clients) other.send(data, { binary: false });
  });
  socket.on('error', () => {});
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
