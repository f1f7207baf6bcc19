//! tokio: `subject-tokio multi_thread|current_thread BENCH key=value…`.
//!
//! Every bench runs in a spawned task: the thread of `block_on` would be one side of what is measured, and it is no worker.

use std::{env, process};

use common::{Args, fail, fail_on_panic};
use tokio::runtime::Builder;

mod channels;
mod idle;
mod servers;
mod tasks;
mod window;

fn main() {
    fail_on_panic();
    let mut arguments = env::args().skip(1);
    let flavour = arguments.next();
    let args = Args::parse(arguments);
    let mut builder = match flavour.as_deref() {
        Some("multi_thread") => Builder::new_multi_thread(),
        Some("current_thread") if args.workers() > 1 && args.bench != "multicore" => {
            fail("current_thread has one thread")
        }
        Some("current_thread") => Builder::new_current_thread(),
        _ => fail("which flavour? multi_thread or current_thread"),
    };
    let runtime = builder.worker_threads(args.workers()).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| fail(&format!("no runtime: {error}")));
    let bench = runtime.spawn(bench(args));
    runtime.block_on(bench).expect("a panic would have ended the process");
    // Not dropped: a million tasks would be, one by one.
    process::exit(0);
}

async fn bench(args: Args) {
    match args.bench {
        "spawn_join" => tasks::spawn_join(args.count()).await,
        "spawn_many" => tasks::spawn_many(args.count()).await,
        "yield" => tasks::yields(args.count()).await,
        "mutex" => tasks::mutex(args.count()).await,
        "skynet" => tasks::skynet(args.number("leaves")).await,
        "multicore" => tasks::multicore(args.workers(), args.count()).await,
        "pingpong" => channels::pingpong(args.count()).await,
        "ring" => channels::ring(args.tasks(), args.count()).await,
        "select" => channels::select_one(args.count()).await,
        "mpmc" => channels::mpmc(args.count()).await,
        "memory_recv" => idle::receivers(args.tasks()).await,
        "memory_sleep" => idle::sleepers(args.tasks()).await,
        "timers" => idle::timers(args.tasks()).await,
        "hog" => window::beside_hogs(&args).await,
        "blocked" => window::beside_blocked(&args).await,
        "echo" => servers::echo().await,
        "http" => servers::http().await,
        _ => args.not_of("tokio"),
    }
}
