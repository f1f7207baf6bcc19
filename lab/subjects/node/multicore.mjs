// Work for more than one core, in worker_threads, as Node's users do it. This file is also what such a thread runs.

import { once } from 'node:events';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';

import { fail } from './args.mjs';
import { millisSince, note, now, report, share } from './report.mjs';

// Knuth's MMIX generator on 64 bits: each round needs the one before.
const A = 6364136223846793005n;
const C = 1442695040888963407n;
const u64 = (x) => BigInt.asUintN(64, x);

// V8 keeps x in a register if it is of 64 bits before the loop already, and the constants are the function's own. Else it
// makes an object each round.
function rounds(seed, count) {
  const a = A;
  const c = C;
  let x = BigInt.asUintN(64, seed);
  for (let i = 0; i < count; i++) x = BigInt.asUintN(64, x * a + c);
  return x;
}

// Where the rounds lead, by squaring: to check those who went.
function jump(x, count) {
  for (let n = BigInt(count), a = A, c = C; n > 0n; n >>= 1n) {
    if (n & 1n) x = u64(x * a + c);
    c = u64(c * (a + 1n));
    a = u64(a * a);
  }
  return x;
}

/** Two tasks of half the count: threads if there may be two, else one after the other. */
export async function multicore(workers, count) {
  const threads = workers > 1 ? [0, 1].map(() => new Worker(new URL(import.meta.url))) : [];
  const task = async (index, count) => {
    if (threads.length === 0) return rounds(BigInt(index), count);
    threads[index].postMessage({ seed: BigInt(index), count });
    return (await once(threads[index], 'message'))[0];
  };
  const run = async (count) => {
    const parts = [0, 1].map((index) => share(count, 2, index));
    const done = await Promise.all(parts.map((part, index) => task(index, part)));
    if (done.some((x, index) => x !== jump(BigInt(index), parts[index]))) fail('the result is wrong');
  };
  await run(Math.floor(count / 10));
  const start = now();
  await run(count);
  report({ value: millisSince(start) });
  if (threads.length > 0) note('in two worker_threads');
}

if (!isMainThread) {
  parentPort.on('message', ({ seed, count }) => parentPort.postMessage(rounds(seed, count)));
}
