//! OS threads: std, and blocking calls. How many cores they have is a matter of pinning.

use std::env;

use common::{Args, fail_on_panic, pin_to_cores};

mod channels;
mod idle;
mod servers;
mod tasks;
mod window;

fn main() {
    fail_on_panic();
    let args = Args::parse(env::args().skip(1));
    pin_to_cores(args.workers());
    match args.bench {
        "spawn_join" => tasks::spawn_join(args.count()),
        "spawn_many" => tasks::spawn_many(args.count()),
        "yield" => tasks::yields(args.count()),
        "mutex" => tasks::mutex(args.count()),
        "skynet" => tasks::skynet(args.number("leaves")),
        "multicore" => tasks::multicore(args.count()),
        "pingpong" => channels::pingpong(args.count()),
        "ring" => channels::ring(args.tasks(), args.count()),
        "select" => channels::select_one(args.count()),
        "mpmc" => channels::mpmc(args.count()),
        "memory_recv" => idle::receivers(args.tasks()),
        "memory_sleep" => idle::sleepers(args.tasks()),
        "timers" => idle::timers(args.tasks()),
        "hog" => window::beside_hogs(&args),
        "blocked" => window::beside_blocked(&args),
        "echo" => servers::echo(),
        "http" => servers::http(),
        _ => args.not_of("threads"),
    }
}
