//! Numbers: the runtime's own survive a program that closes everything, and give way to one that puts
//! files where they are.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]

mod common;

use std::ffi::c_int;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;

use common::{alone, fiber, on_fiber, start};

unsafe extern "C" {
    fn closefrom(first: c_int);
}

/// What the numbers from 3 on are, by the names that the kernel gives them.
fn open_files() -> Vec<(c_int, String)> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("Linux has it");
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target = std::fs::read_link(entry.path()).ok()?;
            let number: c_int = entry.file_name().to_str()?.parse().ok()?;
            (number > 2).then(|| (number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

fn has_epoll() -> bool {
    open_files().iter().any(|(_, name)| name.contains("eventpoll"))
}

/// Two fibers that wait for each other through a pair of sockets, and one that sleeps.
fn fibers_wait() {
    let (mut here, mut there) = UnixStream::pair().expect("a pair");
    let echo = fiber(move || {
        let mut byte = [0];
        while there.read(&mut byte).expect("connected") == 1 {
            there.write_all(&byte).expect("connected");
        }
    });
    on_fiber(move || {
        for sent in 0..20_u8 {
            here.write_all(&[sent]).expect("connected");
            let mut byte = [0];
            here.read_exact(&mut byte).expect("answered");
            assert_eq!(byte, [sent]);
        }
    });
    echo.join();
    // SAFETY: sleeps.
    on_fiber(|| unsafe { libc::usleep(1000) });
}

#[test]
fn close_range_spares_the_runtimes_own() {
    if !alone("close_range_spares_the_runtimes_own") {
        return;
    }
    start();
    fibers_wait();
    for _ in 0..3 {
        // SAFETY: nothing here uses a number above 2.
        on_fiber(|| assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0));
        assert!(has_epoll());
        fibers_wait();
    }
    // From an OS thread, and by the name that ends no call with an error.
    // SAFETY: as above.
    unsafe { closefrom(3) };
    assert!(has_epoll());
    fibers_wait();
}

#[test]
fn a_loop_of_closes_spares_the_runtimes_own() {
    if !alone("a_loop_of_closes_spares_the_runtimes_own") {
        return;
    }
    start();
    fibers_wait();
    on_fiber(|| {
        for number in 3..65_536 {
            // SAFETY: nothing here uses a number above 2.
            let closed = unsafe { libc::close(number) };
            let error = std::io::Error::last_os_error().raw_os_error();
            assert!(closed == 0 || error == Some(libc::EBADF));
        }
    });
    assert!(has_epoll());
    fibers_wait();
    // What the program opened meanwhile is closed, and closed again is an error as ever.
    let (here, _there) = UnixStream::pair().expect("a pair");
    let number = here.as_raw_fd();
    // SAFETY: dropping `here` closes a number that is not open: an error that std does not look at
    // would be one, so it is forgotten instead.
    assert_eq!(unsafe { libc::close(number) }, 0);
    std::mem::forget(here);
    // SAFETY: not open.
    assert_eq!(unsafe { libc::close(number) }, -1);
}

/// A file goes where one of the runtime's own is: it is the program's there, and fibers still wait.
#[test]
fn dup2_gets_the_number_it_wants() {
    if !alone("dup2_gets_the_number_it_wants") {
        return;
    }
    start();
    fibers_wait();
    let (mut here, there) = UnixStream::pair().expect("a pair");
    let (done, waits) = channel();
    let reader = fiber(move || {
        let mut byte = [0];
        done.send(()).expect("the test listens");
        here.read_exact(&mut byte).expect("written");
        byte
    });
    waits.recv().expect("it begins");
    for (number, name) in open_files() {
        let ours = ["eventpoll", "eventfd", "/stat"].iter().any(|part| name.contains(part));
        if !ours {
            continue;
        }
        let from = there.as_raw_fd();
        on_fiber(move || {
            // No such file: nothing changes.
            // SAFETY: −1 is no descriptor.
            assert_eq!(unsafe { libc::dup2(-1, number) }, -1);
            // SAFETY: the number is nobody's, as far as this program knows.
            assert_eq!(unsafe { libc::dup2(from, number) }, number);
        });
        fibers_wait();
        let names = open_files();
        let found = names.iter().find(|(other, _)| *other == number).expect("it is open");
        assert!(found.1.contains("socket"), "{found:?}");
        // SAFETY: ours since `dup2`; closed when dropped.
        drop(unsafe { UnixStream::from_raw_fd(number) });
    }
    assert!(has_epoll());
    (&there).write_all(&[7]).expect("connected");
    assert_eq!(reader.join(), [7]);
}
