//! libc's functions that a program calls: which suspend a fiber, and which block its OS thread.
//!
//! What is hooked is read from the shared object that holds the hooks, so this page needs no change
//! when a hook is added: a function leaves [`BLOCKING`] by being hooked.

use std::collections::{BTreeMap, BTreeSet};

/// What a hooked function is about, by the first of these that its name begins with.
const FAMILIES: [(&str, &[&str]); 12] = [
    (
        "locks",
        &[
            "pthread_mutex",
            "pthread_cond",
            "pthread_rwlock",
            "pthread_barrier",
            "pthread_once",
            "sem_",
            "mtx_",
            "cnd_",
            "call_once",
        ],
    ),
    (
        "signals",
        &[
            "pthread_sig",
            "pthread_kill",
            "sig",
            "__sysv_signal",
            "bsd_signal",
            "sysv_signal",
            "__sigsetjmp",
            "kill",
            "raise",
            "pause",
            "longjmp",
            "_longjmp",
            "__longjmp_chk",
        ],
    ),
    (
        "processes",
        &[
            "fork",
            "_Fork",
            "vfork",
            "daemon",
            "exec",
            "fexecve",
            "wait",
            "posix_spawn",
            "system",
            "pthread_atfork",
            "__register_atfork",
        ],
    ),
    ("threads", &["pthread_", "__pthread_", "thrd_", "tss_", "gettid"]),
    ("time", &["nanosleep", "clock_nanosleep", "usleep", "sleep", "timerfd_"]),
    (
        "readiness",
        &[
            "poll", "ppoll", "__poll", "__ppoll", "select", "pselect", "epoll_", "eventfd",
            "inotify_",
        ],
    ),
    (
        "sockets",
        &[
            "recv",
            "__recv",
            "send",
            "accept",
            "connect",
            "socket",
            "setsockopt",
            "shutdown",
            "getaddrinfo",
            "getnameinfo",
            "gethostby",
            "__res_",
        ],
    ),
    (
        "input and output",
        &[
            "read",
            "__read",
            "write",
            "__write",
            "pread",
            "__pread",
            "pwrite",
            "splice",
            "tee",
            "vmsplice",
            "fsync",
            "fdatasync",
            "flock",
            "lockf",
        ],
    ),
    (
        "descriptors",
        &[
            "open", "creat", "close", "__close", "dup", "pipe", "fcntl", "ioctl", "fclose",
            "freopen", "memfd_",
        ],
    ),
    ("libraries", &["dlopen", "dlsym", "dlclose", "dlmopen"]),
    (
        "the kernel's view of the thread",
        &["set", "unshare", "capset", "prctl", "ptrace", "sched_", "nice"],
    ),
    ("raw system calls", &["syscall"]),
];

/// What is hooked for the runtime's own sake, in every program.
const SILENT: [&str; 2] = ["__cxa_finalize", "__gmon_start__"];

/// Functions that may block and, where no hook has taken them, block an OS thread.
const BLOCKING: [(&str, &[&str]); 9] = [
    (
        "name resolution",
        &[
            "getaddrinfo",
            "getnameinfo",
            "gethostbyname",
            "gethostbyname_r",
            "gethostbyname2",
            "gethostbyname2_r",
            "gethostbyaddr",
            "gethostbyaddr_r",
            "getaddrinfo_a",
            "res_query",
            "res_search",
            "__res_query",
            "__res_search",
        ],
    ),
    (
        "disks",
        &[
            "fsync",
            "fdatasync",
            "sync",
            "syncfs",
            "sync_file_range",
            "msync",
            "copy_file_range",
            "pread",
            "pread64",
            "pwrite",
            "pwrite64",
            "preadv",
            "preadv64",
            "preadv2",
            "preadv64v2",
            "pwritev",
            "pwritev64",
            "pwritev2",
            "pwritev64v2",
            "posix_fallocate",
            "posix_fallocate64",
        ],
    ),
    ("file locks", &["flock", "lockf", "lockf64"]),
    (
        "C's streams, where they read",
        &[
            "fread",
            "fgets",
            "fgetc",
            "getc",
            "getchar",
            "getline",
            "getdelim",
            "__getdelim",
            "__isoc99_scanf",
            "__isoc99_fscanf",
            "__fgets_chk",
            "__fread_chk",
        ],
    ),
    ("programs that are started", &["popen", "pclose", "posix_spawn", "posix_spawnp"]),
    ("queues and semaphores of System V", &["msgrcv", "msgsnd", "semop", "semtimedop"]),
    ("queues of POSIX", &["mq_receive", "mq_send", "mq_timedreceive", "mq_timedsend"]),
    (
        "asynchronous input and output",
        &["aio_suspend", "aio_suspend64", "lio_listio", "lio_listio64", "io_getevents"],
    ),
    ("others", &["sendfile", "splice", "sendmmsg", "recvmmsg", "tcdrain", "sigpause"]),
];

/// Hooked functions that block an OS thread even so, where they work on a certain thing.
const IN_PART: [(&str, &str, &[&str]); 3] = [
    ("started programs", "until the new program has begun", &["posix_spawn", "posix_spawnp"]),
    ("regular files", "reads and writes of a disk", &["read", "write", "readv", "writev"]),
    (
        "locks shared between processes",
        "pthread_mutexattr_setpshared and its kin",
        &[
            "pthread_mutexattr_setpshared",
            "pthread_condattr_setpshared",
            "pthread_rwlockattr_setpshared",
            "pthread_barrierattr_setpshared",
            "sem_open",
        ],
    ),
];

/// What a program's calls come to.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Hooked functions that it calls, by family.
    pub(crate) hooked: BTreeMap<&'static str, Vec<String>>,
    /// Those that block an OS thread, by what they are about, and what is to be said of each.
    pub(crate) blocking: Vec<(&'static str, String)>,
}

/// What a hook is about.
fn family(name: &str) -> &'static str {
    let is_in =
        |(_, names): &&(&'static str, &[&str])| names.iter().any(|start| name.starts_with(start));
    FAMILIES.iter().find(is_in).map_or("others", |(family, _)| family)
}

/// Sorts what is called by what becomes of it.
pub(crate) fn sort(called: &BTreeSet<String>, hooks: &BTreeSet<String>) -> Calls {
    let mut calls = Calls::default();
    for name in called.intersection(hooks).filter(|name| !SILENT.contains(&name.as_str())) {
        calls.hooked.entry(family(name)).or_default().push(name.clone());
    }
    let is_called = |name: &&&str| called.contains(**name);
    for (what, names) in BLOCKING {
        let names: Vec<&str> = names
            .iter()
            .filter(|name| is_called(name) && !hooks.contains(**name))
            .copied()
            .collect();
        if !names.is_empty() {
            calls.blocking.push((what, names.join(" ")));
        }
    }
    for (what, why, names) in IN_PART {
        if names.iter().any(|name| is_called(&name)) {
            calls.blocking.push((what, why.to_owned()));
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_hooked_function_suspends_and_another_blocks() {
        let called = set(&["recv", "pthread_mutex_lock", "flock", "malloc", "__cxa_finalize"]);
        let calls = sort(&called, &set(&["recv", "pthread_mutex_lock", "__cxa_finalize"]));
        let families: Vec<_> = calls.hooked.keys().copied().collect();
        assert_eq!(families, ["locks", "sockets"]);
        assert_eq!(calls.blocking, [("file locks", "flock".to_owned())]);
        let calls = sort(&called, &set(&["flock"]));
        assert!(calls.blocking.is_empty(), "a hook has taken it");
    }

    #[test]
    fn families_are_found_by_the_beginning_of_a_name() {
        for (name, wanted) in [
            ("pthread_mutex_lock", "locks"),
            ("pthread_create", "threads"),
            ("pthread_sigmask", "signals"),
            ("setsockopt", "sockets"),
            ("setresuid", "the kernel's view of the thread"),
            ("epoll_wait", "readiness"),
            ("waitpid", "processes"),
            ("nothing_of_the_kind", "others"),
        ] {
            assert_eq!(family(name), wanted, "{name}");
        }
    }
}
