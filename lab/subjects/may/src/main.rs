//! may: coroutines with stacks of their own, 32 KiB unless told otherwise, and a pool of them.
//!
//! Every bench runs in a coroutine: the main thread is no worker. may's channels have no bound; where a bound makes a
//! difference (`mpmc`) the run says so.

use std::{env, process};

use common::{Args, fail_on_panic};
use may::go;

mod channels;
mod idle;
mod servers;
mod tasks;
mod window;

fn main() {
    fail_on_panic();
    let args = Args::parse(env::args().skip(1));
    may::config().set_workers(args.workers());
    go!(move || bench(&args)).join().expect("a panic would have ended the process");
    // Whatever still waits is not waited for.
    process::exit(0);
}

fn bench(args: &Args) {
    match args.bench {
        "spawn_join" => tasks::spawn_join(args.count()),
        "spawn_many" => tasks::spawn_many(args.count()),
        "yield" => tasks::yields(args.count()),
        "mutex" => tasks::mutex(args.count()),
        "skynet" => tasks::skynet(args.number("leaves")),
        "multicore" => tasks::multicore(args.count()),
        "pingpong" => channels::pingpong(args.count()),
        "ring" => channels::ring(args.tasks(), args.count()),
        "mpmc" => channels::mpmc(args.count()),
        "memory_recv" => idle::receivers(args.tasks()),
        "memory_sleep" => idle::sleepers(args.tasks()),
        "timers" => idle::timers(args.tasks()),
        "hog" => window::beside_hogs(args),
        "blocked" => window::beside_blocked(args),
        "echo" => servers::echo(),
        "http" => servers::http(),
        _ => args.not_of("may"),
    }
}
