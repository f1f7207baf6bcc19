// BENCH key=value…, as lab/subjects/README.md has it. A bench has exactly its keys: one that went on with a default would
// print a number that nobody asked for.

const BENCHES = {
  spawn_join: ['workers', 'count'],
  spawn_many: ['workers', 'count'],
  yield: ['workers', 'count'],
  pingpong: ['workers', 'count'],
  ring: ['workers', 'tasks', 'count'],
  mpmc: ['workers', 'count'],
  generator: ['workers', 'count'],
  skynet: ['workers', 'leaves'],
  memory_recv: ['workers', 'tasks'],
  memory_sleep: ['workers', 'tasks'],
  timers: ['workers', 'tasks'],
  multicore: ['workers', 'count'],
  hog: ['workers', 'hogs', 'secs', 'late'],
  blocked: ['workers', 'stuck', 'secs', 'late'],
  echo: ['workers'],
  http: ['workers'],
};

const stop = (status, why) => {
  console.error(why);
  process.exit(status);
};

/** Ends the run: nobody is to believe it. */
export const fail = (why) => stop(1, why);

const whole = (text) => (/^\d{1,15}$/.test(text) ? Number(text) : undefined);
const positive = (text) => (whole(text) > 0 ? Number(text) : undefined);
const KINDS = {
  late: ['a path', (text) => text || undefined],
  secs: ['seconds', (text) => (Number(text) > 0 && Number(text) < 1e6 ? Number(text) : undefined)],
  hogs: ['a number', whole],
  stuck: ['a number', whole],
  leaves: [
    'a power of ten, as each inner task has ten children',
    (text) => (/^10{0,9}$/.test(text) ? Number(text) : undefined),
  ],
};

/** The bench, and its parameters by name; ends the process with status 2 if they are wrong. */
export function parse([bench, ...rest]) {
  if (bench === undefined) stop(2, 'which bench? BENCH key=value…');
  if (!Object.hasOwn(BENCHES, bench)) stop(2, `no bench is called ${bench}`);
  const keys = BENCHES[bench];
  const args = {};
  for (const argument of rest) {
    const at = argument.indexOf('=');
    if (at < 0) stop(2, `not key=value: ${argument}`);
    const [key, text] = [argument.slice(0, at), argument.slice(at + 1)];
    if (!keys.includes(key)) stop(2, `${bench} has no key ${key}: it has ${keys.join(', ')}`);
    const [wanted, read] = KINDS[key] ?? ['a number above zero', positive];
    args[key] = read(text) ?? stop(2, `${key}=${text}: ${key} is ${wanted}`);
  }
  for (const key of keys) if (!(key in args)) stop(2, `${bench} needs ${key}=…`);
  return { bench, args };
}
