//! `Config::trace`. What is in a trace is tested where there are programs to run, in the CLI's tests.

use std::path::PathBuf;
use std::sync::mpsc;
use std::{env, fs};

use crate::support::{child, is_child};

const FILE: &str = "TIMESTOP_TEST_TRACE";

#[test]
fn a_configured_trace_is_written() {
    if is_child() {
        let file = PathBuf::from(env::var_os(FILE).expect("the parent names it"));
        timestop::Config::new().workers(2).trace(&file).run(|| {
            let (sender, receiver) = mpsc::channel();
            let builder = timestop::Builder::new().name("waits for the channel".to_owned());
            let waiter = builder.spawn(move || receiver.recv()).expect("room for a fiber");
            while !timestop::fibers(100).iter().any(|fiber| fiber.waiting_for.is_some()) {
                timestop::yield_now();
            }
            sender.send(7).expect("it waits");
            assert_eq!(waiter.join().expect("no panic"), Ok(7));
        });
        // Another is refused by nothing: the runtime has its settings.
        timestop::Config::new().trace(file.with_extension("other")).start().expect("it runs");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("trace.json");
    fs::write(&file, "old").expect("room");
    let run = child("tracing::a_configured_trace_is_written").env(FILE, &file).output();
    let run = run.expect("this binary starts again");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    let trace = fs::read_to_string(&file).expect("it was written");
    assert!(trace.starts_with("[\n{") && trace.ends_with("\n]\n"), "{trace}");
    let has = |parts: &[&str]| {
        let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
        assert!(trace.lines().any(has_all), "no line with {parts:?} in {trace}");
    };
    has(&["thread_name", "\"waits for the channel\""]);
    has(&["\"worker 1\""]);
    // By its first 16 bytes on the worker's track.
    has(&["\"ph\":\"X\"", "\"waits for the ch ", "\"left\":\"lock or condition (futex) 0x"]);
    has(&["\"ph\":\"s\"", "\"wakes\""]);
    has(&["0 events lost in all"]);
    assert!(!file.with_extension("other").exists());
}
