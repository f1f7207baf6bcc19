// The subject Node: node --expose-gc subject.mjs BENCH key=value…, as lab/subjects/README.md says.
//
// A task is an async function. JavaScript has one thread, so that `workers` is 1 for all but multicore.

import { setTimeout as sleep } from 'node:timers/promises';

import { fail, parse } from './args.mjs';
import { Channel } from './channel.mjs';
import { multicore } from './multicore.mjs';
import { each, memoryNow, millisSince, note, now, peakRssMiB, report, share } from './report.mjs';
import { echo, httpServer } from './servers.mjs';
import { besideBlocked, besideHogs } from './window.mjs';

// What is awaited at once is not put into any queue, and what a promise wakes is put into that of microtasks.
const AT_ONCE = 'an async function runs at once, until it first waits';

async function spawnJoin(count) {
  const task = async () => {};
  await each(count, async (count) => {
    for (let i = 0; i < count; i++) await task();
  });
  note(AT_ONCE);
}

async function spawnMany(count) {
  const task = async () => {};
  await each(count, (count) => Promise.all(Array.from({ length: count }, task)));
  note(AT_ONCE);
}

async function yields(count) {
  const task = async (turns) => {
    for (let i = 0; i < turns; i++) await undefined;
  };
  await each(count, (count) => Promise.all([task(share(count, 2, 0)), task(share(count, 2, 1))]));
  note('by microtasks, between which Node looks for no input');
}

function pingpong(count) {
  return each(count, async (count) => {
    const [ping, pong] = [new Channel(1), new Channel(1)];
    const answers = async () => {
      for (let i = 0; i < count; i++) await pong.send(await ping.recv());
    };
    const asks = async () => {
      for (let i = 0; i < count; i++) {
        await ping.send(i);
        if ((await pong.recv()) !== i) fail('another message came back');
      }
    };
    await Promise.all([answers(), asks()]);
  });
}

function generator(count) {
  function* numbers() {
    for (let i = 0; ; i++) yield i;
  }
  return each(count, (count) => {
    const values = numbers();
    for (let i = 0; i < count; i++) if (values.next().value !== i) fail('another number was yielded');
  });
}

// The token is how many hops are left. The task that it leaves none tells which one it is.
function ring(tasks, count) {
  const channels = Array.from({ length: tasks }, () => new Channel(1));
  const arrived = new Channel(1);
  const hops = async (index) => {
    for (;;) {
      const left = await channels[index].recv();
      if (left === 0) await arrived.send(index);
      else await channels[(index + 1) % tasks].send(left - 1);
    }
  };
  for (let index = 0; index < tasks; index++) hops(index);
  return each(count, async (count) => {
    const left = Math.max(count, 1) - 1;
    await channels[0].send(left);
    if ((await arrived.recv()) !== left % tasks) fail('the token is where it should not be');
  });
}

// Four senders, four receivers.
function mpmc(count) {
  return each(count, async (count) => {
    const channel = new Channel(1024);
    let received = 0;
    const receiver = async () => {
      while ((await channel.recv()) !== undefined) received++;
    };
    const sender = async (_, index) => {
      for (let i = share(count, 4, index); i > 0; i--) await channel.send(i);
    };
    const receivers = Array.from({ length: 4 }, receiver);
    await Promise.all(Array.from({ length: 4 }, sender));
    channel.close();
    await Promise.all(receivers);
    if (received !== count) fail('a message was lost');
  });
}

async function skynet(leaves) {
  const node = async (first, leaves) => {
    if (leaves === 1) return first;
    const part = leaves / 10;
    const children = Array.from({ length: 10 }, (_, index) => node(first + index * part, part));
    return (await Promise.all(children)).reduce((sum, child) => sum + child, 0);
  };
  const start = now();
  const sum = await node(0, leaves);
  const value = millisSince(start);
  if (sum !== (leaves * (leaves - 1)) / 2) fail('the sum is wrong');
  report({ value });
  note(AT_ONCE);
}

async function memory(tasks, wait) {
  const keep = new Array(tasks);
  globalThis.gc();
  const before = memoryNow();
  for (let i = 0; i < tasks; i++) keep[i] = wait();
  // What is left when garbage is gone is what they cost.
  await sleep(100);
  globalThis.gc();
  const after = memoryNow();
  report({
    value: (after.rss - before.rss) / tasks,
    page_tables: (after.pageTables - before.pageTables) / tasks,
    system: (before.available - after.available) / tasks,
  });
  if (keep.length !== tasks) fail('they are not there any more');
}

async function timers(tasks) {
  const start = now();
  await Promise.all(Array.from({ length: tasks }, async () => { await sleep(Math.random() * 1e3); }));
  report({ value: millisSince(start) - 1e3, rss: peakRssMiB() });
}

// The last line on standard error is the reason that people are shown: no trace.
process.on('uncaughtException', (error) => fail(error.message));
const { bench, args } = parse(process.argv.slice(2));
if (args.workers > 1 && bench !== 'multicore') fail('JavaScript has one thread: workers=1 is all there is');
const runs = {
  spawn_join: () => spawnJoin(args.count),
  spawn_many: () => spawnMany(args.count),
  yield: () => yields(args.count),
  pingpong: () => pingpong(args.count),
  ring: () => ring(args.tasks, args.count),
  mpmc: () => mpmc(args.count),
  generator: () => generator(args.count),
  skynet: () => skynet(args.leaves),
  memory_recv: () => {
    const channel = new Channel(1);
    return memory(args.tasks, async () => { await channel.recv(); });
  },
  memory_sleep: () => memory(args.tasks, async () => { await sleep(3_600_000); }),
  timers: () => timers(args.tasks),
  multicore: () => multicore(args.workers, args.count),
  hog: () => besideHogs(args),
  blocked: () => besideBlocked(args),
  echo,
  http: httpServer,
};
await runs[bench]();
process.exit(0);
