// server.mjs BENCH key=value…: three views behind node:http, on a free port of 127.0.0.1. Prints `PORT PID`.
//
// One process and one loop: what a second core would need is the module `cluster`, which is pre-forking again.

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const BODY = Buffer.from("0123456789abcdef".repeat(64));
const BENCHES = ["view", "multicore_http"];

function refuse(why) {
  console.error(why);
  process.exit(1);
}

const [bench, ...pairs] = process.argv.slice(2);
if (!BENCHES.includes(bench)) refuse(`no bench '${bench}'; there are ${BENCHES.join(", ")}`);
for (const key of pairs.map((pair) => pair.split("=")[0])) {
  if (key !== "workers") refuse(`unknown key '${key}'; ${bench} has workers`);
}

function count(turns) {
  let done = 0;
  while (done < turns) done += 1;
  return done;
}

// How far `count` gets in a millisecond with a core to itself: the best of short tries, for 300 ms. The first ones are
// for the compiler. By counting, since what others get meanwhile must not make the work less.
function turnsAMillisecond() {
  const turns = 400_000;
  const start = performance.now();
  let best = Infinity;
  for (let begin = start; begin < start + 300; begin = performance.now()) {
    count(turns);
    best = Math.min(best, performance.now() - begin);
  }
  return turns / best;
}

const TURNS = turnsAMillisecond();

function send(response, body) {
  response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": body.length });
  response.end(body);
}

const views = {
  "/": (response) => send(response, BODY),
  "/spin": (response, milliseconds) => {
    count(Math.round(milliseconds * TURNS));
    send(response, Buffer.from("spun\n"));
  },
  "/wait": async (response, milliseconds) => {
    await sleep(milliseconds);
    send(response, Buffer.from("waited\n"));
  },
};

const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
  const url = new URL(request.url, "http://127.0.0.1");
  const view = views[url.pathname];
  if (view === undefined) {
    response.writeHead(404).end();
    return;
  }
  view(response, Number(url.searchParams.get("ms")));
});

server.listen({ port: 0, host: "127.0.0.1", backlog: 2048 }, () => {
  console.log(`${server.address().port} ${process.pid}`);
});
