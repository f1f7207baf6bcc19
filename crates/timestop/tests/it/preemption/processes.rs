//! Children, and libraries loaded and unloaded, by fibers that are preempted and beside others that compute.

use std::ffi::{CString, c_int, c_void};
use std::fs;
use std::io::Write;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr::null;
use std::sync::Arc;

use super::{Hogs, alone, assert_preempted, compute, others_go_on};
use crate::support::{fan_out, pattern};

/// Runs `body` in four fibers at once beside two hogs.
fn busily(body: impl Fn(usize) + Clone + Send + 'static) {
    let hogs = Hogs::start(2, |index, _| {
        assert_eq!(compute(index as u64, 10), compute(index as u64, 10));
    })
    .run();
    fan_out(4, body);
    others_go_on();
    hogs.end();
    assert_preempted(1);
}

/// Waits for the child, and returns with which status it exited.
fn exit_status(child: libc::pid_t) -> c_int {
    let mut status = 0;
    // SAFETY: the status lives through the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    libc::WEXITSTATUS(status)
}

#[test]
fn commands() {
    alone(2, || {
        busily(|index| {
            for round in 0..5 {
                let code = (index * 8 + round) as i32;
                let script = format!("exit {code}");
                let status = Command::new("sh").args(["-c", &script]).status().expect("starts");
                assert_eq!(status.code(), Some(code));
            }
            // More in each direction than a pipe holds.
            let bytes = pattern(index, 300_000);
            let mut cat = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("there is cat");
            let mut stdin = cat.stdin.take().expect("piped");
            let sent = bytes.clone();
            let writer = timestop::spawn(move || stdin.write_all(&sent));
            let output = cat.wait_with_output().expect("our child");
            writer.join().expect("no panic").expect("cat reads");
            assert!(output.status.success() && output.stdout == bytes);
        });
    });
}

#[test]
fn children_have_the_signals_that_the_program_gave_them() {
    alone(1, || {
        let hogs = Hogs::start(2, |index, _| {
            assert_eq!(compute(index as u64, 10), compute(index as u64, 10));
        })
        .run();
        for _ in 0..5 {
            let status = Command::new("cat").arg("/proc/self/status").output().expect("starts");
            let status = String::from_utf8(status.stdout).expect("ASCII");
            for name in ["SigBlk:", "SigIgn:"] {
                let set = status.lines().find_map(|line| line.strip_prefix(name));
                let set = u64::from_str_radix(set.expect("Linux has it").trim(), 16);
                let urgent = 1 << (libc::SIGURG - 1);
                assert_eq!(set.expect("a number") & urgent, 0, "{name} has SIGURG");
            }
        }
        hogs.end();
    });
}

#[test]
fn forks() {
    alone(2, || {
        let expected = compute(9, 20);
        busily(move |index| {
            for round in 0..10 {
                let code = (index * 16 + round) as c_int;
                let kept = pattern(round, 5_000);
                // SAFETY: the child computes, allocates as glibc's fork allows, and exits.
                let child = unsafe { libc::fork() };
                assert!(child >= 0);
                if child == 0 {
                    // Preempted here too, or not, as it may: the child has no other fiber.
                    let right = compute(9, 20) == expected && kept == pattern(round, 5_000);
                    // SAFETY: it only ends the child.
                    unsafe { libc::_exit(if right { code } else { 255 }) };
                }
                assert_eq!(exit_status(child), code);
            }
        });
    });
}

#[test]
fn forks_whose_children_have_fibers() {
    alone(2, || {
        busily(|index| {
            for round in 0..4 {
                let code = (index * 16 + round) as c_int;
                // SAFETY: the child does what a fiber may do, and exits.
                let child = unsafe { libc::fork() };
                assert!(child >= 0);
                if child == 0 {
                    let sums = fan_out(4, |seed| {
                        (0..10).map(|_| compute(seed as u64, 10)).fold(0, u64::wrapping_add)
                    });
                    let right = sums.len() == 4 && sums[0] == compute(0, 10).wrapping_mul(10);
                    // SAFETY: it only ends the child.
                    unsafe { libc::_exit(if right { code } else { 255 }) };
                }
                assert_eq!(exit_status(child), code);
            }
        });
    });
}

#[test]
fn forks_that_execute() {
    alone(2, || {
        busily(|index| {
            for round in 0..5 {
                let code = (index * 8 + round) as c_int;
                let script = CString::new(format!("exit {code}")).expect("no null byte");
                let arguments = [c"sh".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null()];
                // SAFETY: the child only executes.
                let child = unsafe { libc::fork() };
                assert!(child >= 0);
                if child == 0 {
                    // SAFETY: the list ends with null, and its strings live through the call.
                    unsafe { libc::execv(c"/bin/sh".as_ptr(), arguments.as_ptr()) };
                    // SAFETY: it only ends the child.
                    unsafe { libc::_exit(255) };
                }
                assert_eq!(exit_status(child), code);
            }
        });
    });
}

#[test]
fn spawned_sharing_memory() {
    alone(2, || {
        busily(|index| {
            for round in 0..10 {
                let code = (index * 16 + round) as c_int;
                let script = CString::new(format!("exit {code}")).expect("no null byte");
                let arguments = [c"sh".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null()];
                let environment = [null::<u8>()];
                let mut child = 0;
                // SAFETY: the lists end with null, and all of it lives through the call.
                let result = unsafe {
                    libc::posix_spawn(
                        &raw mut child,
                        c"/bin/sh".as_ptr(),
                        null(),
                        null(),
                        arguments.as_ptr().cast(),
                        environment.as_ptr().cast(),
                    )
                };
                assert_eq!(result, 0);
                assert_eq!(exit_status(child), code);
            }
        });
    });
}

/// A library with a constructor, a destructor, and a thread-local that has an initial value.
const LIBRARY: &str = r"
static __thread long word = 4242;
static volatile long at_start;
__attribute__((constructor)) static void begin(void) {
    for (long i = 0; i < 100000; i++) at_start += i & 1;
}
__attribute__((destructor)) static void end(void) {
    for (long i = 0; i < 100000; i++) at_start -= i & 1;
}
long check(long number) {
    if (at_start != 50000) return -1;
    if (word != 4242 && word != number) return -2;
    word = number;
    return 2 * number;
}
";

/// Builds the library once for each name, so that each is one of its own.
fn build(directory: &Path, name: &str) -> PathBuf {
    let source = directory.join(format!("{name}.c"));
    let library = directory.join(format!("lib{name}.so"));
    fs::write(&source, LIBRARY).expect("the directory is ours");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status()
        .expect("whoever links Rust has cc");
    assert!(status.success(), "cc: {status}");
    library
}

/// An opened library; closed when dropped.
struct Library(*mut c_void);

impl Library {
    fn open(path: &Path) -> Self {
        let path = CString::new(path.to_str().expect("a path of text")).expect("no null byte");
        // SAFETY: the library's constructor and destructor do nothing but count.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "dlopen {path:?} fails");
        Self(handle)
    }

    fn check(&self, number: i64) -> i64 {
        // SAFETY: an open library's handle.
        let symbol = unsafe { libc::dlsym(self.0, c"check".as_ptr()) };
        assert!(!symbol.is_null());
        // SAFETY: the library, which is open, defines the function with this type.
        let check =
            unsafe { mem::transmute::<*mut c_void, unsafe extern "C" fn(i64) -> i64>(symbol) };
        // SAFETY: it takes any number.
        unsafe { check(number) }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once, and nothing of it is used any more.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

#[test]
fn libraries() {
    alone(2, || {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let paths: Vec<_> =
            (0..4).map(|index| build(directory.path(), &format!("own{index}"))).collect();
        let shared = build(directory.path(), "shared");
        let paths = Arc::new(paths);
        busily(move |index| {
            for round in 1..30 {
                // Loaded and unloaded by this fiber alone, and one that may be in use by others.
                let own = Library::open(&paths[index]);
                assert_eq!(own.check(round), 2 * round);
                let shared = Library::open(&shared);
                assert_eq!(shared.check(index as i64), 2 * index as i64);
                drop(own);
                compute(index as u64, 5);
                assert_eq!(shared.check(index as i64), 2 * index as i64);
            }
        });
    });
}
