// What a run prints, and what it reads of the machine.

import fs from 'node:fs';

export const now = () => process.hrtime.bigint();

export function report(numbers) {
  for (const [key, number] of Object.entries(numbers)) console.log(`${key} ${number.toFixed(3)}`);
}

/** What is to be said of the number where it is shown: that it is not quite what the others did. */
export const note = (words) => console.log(`note ${words}`);

/** Runs a tenth to warm up, then all of it, and prints the nanoseconds for each. */
export async function each(count, run) {
  await run(Math.floor(count / 10));
  const start = now();
  await run(count);
  report({ value: Number(now() - start) / count });
}

export const millisSince = (start) => Number(now() - start) / 1e6;

/** The part of task `index`, of `total` for all `tasks`: what does not divide goes to the first ones. */
export const share = (total, tasks, index) => Math.floor(total / tasks) + (index < total % tasks ? 1 : 0);

// `field: N kB` of a file in /proc, in bytes.
const field = (path, field) =>
  Number(fs.readFileSync(path, 'utf8').match(new RegExp(`^${field}:\\s+(\\d+)`, 'm'))[1]) * 1024;

export const memoryNow = () => ({
  rss: field('/proc/self/status', 'VmRSS'),
  pageTables: field('/proc/self/status', 'VmPTE'),
  available: field('/proc/meminfo', 'MemAvailable'),
});

export const peakRssMiB = () => field('/proc/self/status', 'VmHWM') / 1024 / 1024;
