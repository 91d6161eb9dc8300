// A peer for `make bench`: the same few lines on Bun, whose WebSocket server is uWebSockets inside and whose `publish` gathers the messages of a turn.
// Stores nothing. `bun peer-bun.mjs PAGE_BYTES`.
const page = new Response('.'.repeat(Number(process.argv[2])), { headers: { 'Content-Type': 'text/html' } });

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  routes: { '/': page, '/login': page },
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response('not here', { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      socket.subscribe('room');
    },
    message(_socket, text) {
      server.publish('room', text);
    },
  },
});
console.log(`listening on http://127.0.0.1:${server.port}`);
