//! What of a backtrace is the program's: the first line that a reader sees is to be theirs.
//!
//! Cut at the inner end: how the runtime parks, the hook, std's way to it. At the outer end: the
//! fiber's entry, and what std and libc put beneath a thread's function. A stack with nothing else is
//! left whole.

use crate::symbols::Frame;

/// Who wrote a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    Runtime,
    /// std, core, alloc, libc, and what they start threads with.
    Library,
    Program,
}

fn author(frame: &Frame) -> Author {
    // The program `timestop` has the name of the crate: so the crate's modules by their names.
    const RUNTIME: [&str; 12] = [
        "timestop_fiber::",
        "timestop_runtime::",
        "timestop_hooks::",
        "timestop_report::",
        "timestop_preload::",
        "timestop::config::",
        "timestop::coro::",
        "timestop::packet::",
        "timestop::pin::",
        "timestop::report::",
        "timestop::scope::",
        "timestop::spawn::",
    ];
    // `syscalls` is how the runtime, and who wants no hook, calls the kernel.
    const LIBRARY: [&str; 4] = ["std::", "core::", "alloc::", "syscalls::"];
    const ENTRIES: [&str; 9] = [
        "__rust_begin_short_backtrace",
        "__rust_end_short_backtrace",
        "__rust_try",
        "__libc_start_main",
        "__libc_start_call_main",
        "_start",
        "start_thread",
        "__clone",
        "clone3",
    ];
    // `<impl Trait for Type>::method`, `<Type as Trait>::method`: whose it is says the first path.
    let path = frame.name.trim_start_matches(['<', '&', '[', '(', ' ']);
    let path = path.strip_prefix("impl ").unwrap_or(path);
    let path = path.strip_prefix("mut ").unwrap_or(path);
    let starts_with = |names: &[&str]| names.iter().any(|name| path.starts_with(name));
    let file = frame.place.as_ref().map_or("", |(file, _)| file.as_str());
    let is_module = |name: &str| frame.module.starts_with(name);
    if starts_with(&RUNTIME)
        || is_module("libtimestop_preload")
        || file.contains("crates/hooks/src/")
    {
        Author::Runtime
    } else if starts_with(&LIBRARY)
        || ENTRIES.iter().any(|name| frame.name.contains(name))
        || ["libc.so", "libpthread", "ld-linux", "linux-vdso"].into_iter().any(is_module)
    {
        Author::Library
    } else {
        Author::Program
    }
}

/// Cuts a backtrace down to what the program's authors know.
pub fn trim(frames: &[Frame]) -> &[Frame] {
    let mut start = 0;
    while let Some(frame) = frames.get(start) {
        let before = start.checked_sub(1).map(|index| author(&frames[index]));
        // Without debug information a hook is a plain C name beneath the runtime's frames.
        let may_be = before == Some(Author::Runtime) && frame.place.is_none();
        let is_hook = may_be && frame.module.is_empty() && is_hook(&frame.name);
        if author(frame) == Author::Program && !is_hook {
            break;
        }
        start += 1;
    }
    let end = frames.iter().rposition(|frame| author(frame) == Author::Program);
    match end {
        Some(end) if end >= start => &frames[start..=end],
        _ => frames,
    }
}

/// Whether a name may be a hook's.
fn is_hook(name: &str) -> bool {
    const BEGINNINGS: [&str; 7] = ["pthread_", "sem_", "mtx_", "cnd_", "epoll_", "__", "clock_"];
    const NAMES: [&str; 38] = [
        "recv",
        "recvfrom",
        "recvmsg",
        "send",
        "sendto",
        "sendmsg",
        "read",
        "readv",
        "write",
        "writev",
        "accept",
        "accept4",
        "connect",
        "poll",
        "ppoll",
        "select",
        "pselect",
        "nanosleep",
        "usleep",
        "sleep",
        "sched_yield",
        "syscall",
        "call_once",
        "pause",
        "system",
        "close",
        "fork",
        "raise",
        "dup2",
        "ioctl",
        "wait",
        "wait3",
        "wait4",
        "waitpid",
        "waitid",
        "sigwait",
        "sigtimedwait",
        "sigsuspend",
    ];
    BEGINNINGS.iter().any(|start| name.starts_with(start)) || NAMES.contains(&name)
}

/// The first frame of the program's: the place that a warning is about. The innermost where there is
/// none.
pub(crate) fn site(frames: &[Frame]) -> Option<&Frame> {
    trim(frames).first()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str) -> Frame {
        Frame { name: name.to_owned(), place: None, module: String::new() }
    }

    #[test]
    fn the_programs_lines_are_left() {
        let frames = [
            "timestop_fiber::switch::switch",
            "timestop_runtime::sched::park",
            "nanosleep",
            "std::thread::sleep",
            "shop::open",
            "core::ops::function::FnOnce::call_once",
            "shop::main",
            "<core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::FnOnce<()>>::call_once",
            "timestop::packet::run",
            "timestop_runtime::sched::carrier::first",
        ]
        .map(frame);
        let names: Vec<_> = trim(&frames).iter().map(|frame| frame.name.as_str()).collect();
        assert_eq!(names, ["shop::open", "core::ops::function::FnOnce::call_once", "shop::main"]);
        assert_eq!(site(&frames).map(|frame| frame.name.as_str()), Some("shop::open"));
        assert_eq!(trim(&frames[..3]).len(), 3);
    }
}
