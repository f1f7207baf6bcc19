// A hundred async functions that sleep a millisecond again and again, beside others that hold Node's only thread: how late
// are they in a window of some seconds?

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { fail } from './args.mjs';
import { note, report } from './report.mjs';

const SLEEPERS = 100;
// How long they are undisturbed, before the window begins and the others with it.
const WARM_UP_MS = 300;

/** Beside some that compute. They may look at the clock: nobody takes the thread from them there. */
export function besideHogs({ hogs, secs, late }) {
  return measure(secs, late, hogs, (end) => {
    let x = 1;
    while (performance.now() < end) for (let i = 0; i < 50_000; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0;
    return x;
  });
}

/** Beside some that block the thread. */
export async function besideBlocked({ stuck, secs, late }) {
  const word = new Int32Array(new SharedArrayBuffer(4));
  await measure(secs, late, stuck, (end) => Atomics.wait(word, 0, 0, Math.max(0, end - performance.now())));
  note('blocked in Atomics.wait: Node has no flock');
}

async function measure(secs, path, others, other) {
  const begin = performance.now() + WARM_UP_MS;
  const end = begin + secs * 1e3;
  const micros = [];
  // Each time that was due before the window's end and came after its begin: who was held up across either counts in full.
  const sleeper = async () => {
    for (;;) {
      const due = performance.now() + 1;
      if (due >= end) return;
      await sleep(1);
      const woke = performance.now();
      if (woke >= begin) micros.push(Math.max(0, Math.round((woke - due) * 1e3)));
    }
  };
  const beside = async () => {
    await sleep(begin - performance.now());
    other(end);
  };
  await Promise.all([...Array.from({ length: SLEEPERS }, sleeper), ...Array.from({ length: others }, beside)]);
  try {
    fs.writeFileSync(path, micros.map((late) => `${late}\n`).join(''));
  } catch (error) {
    fail(error.message);
  }
  report({ value: 0 });
}
