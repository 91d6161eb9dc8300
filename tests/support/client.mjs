// All that a test needs to talk to a server, in one import: HTTP and bytes (http.mjs), the WebSocket (socket.mjs), and
// the model of a whole client (follower.mjs).

export * from './http.mjs'
export * from './socket.mjs'
export * from './follower.mjs'
