// Callbacks.

import http from 'node:http';
import net from 'node:net';

import { fail } from './args.mjs';

export function echo() {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on('data', (data) => socket.write(data));
    // A client that breaks off is no matter of the server's.
    socket.on('error', () => socket.destroy());
  });
  return serve(server);
}

export function httpServer() {
  const body = Buffer.alloc(1024, 'x');
  const headers = { 'content-type': 'text/plain', 'content-length': body.length };
  const server = http.createServer((request, response) => {
    if (request.url !== '/') return response.writeHead(404).end('not found\n');
    response.writeHead(200, headers).end(body);
  });
  // Five seconds would be fewer than a client that is slow may think.
  server.keepAliveTimeout = 65_000;
  return serve(server);
}

// Prints PORT PID once it listens, and never ends.
function serve(server) {
  server.on('error', (error) => fail(error.message));
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(server.address().port, process.pid));
  return new Promise(() => {});
}
