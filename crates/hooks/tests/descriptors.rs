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

/// Has the runtime learn that the two lowest free numbers are non-blocking sockets, and closes them
/// behind its back.
fn leave_stale_knowledge() {
    let (here, there) = UnixStream::pair().expect("a pair");
    on_fiber(move || {
        let mut ends = [here, there];
        for end in &mut ends {
            end.set_nonblocking(true).expect("a socket can be");
            let error = end.read(&mut [0]).expect_err("nothing is there");
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
        for end in ends {
            // SAFETY: closes what this function made.
            assert_eq!(unsafe { libc::syscall(libc::SYS_close, end.as_raw_fd()) }, 0);
            std::mem::forget(end);
        }
    });
}

/// A file that was opened under the number waits, as a new one does.
fn waits(
    name: &str,
    number: c_int,
    other: c_int,
    make: impl FnOnce() -> (c_int, Box<dyn FnOnce() + Send>),
) {
    leave_stale_knowledge();
    let (made, ready) = make();
    assert_eq!(made, number, "{name}: the lowest number");
    let (done, begins) = channel();
    let reader = fiber(move || {
        let mut bytes = [0_u8; 128];
        done.send(()).expect("the test listens");
        // SAFETY: as many bytes as said.
        let read = unsafe { libc::read(number, bytes.as_mut_ptr().cast(), bytes.len()) };
        (read, std::io::Error::last_os_error())
    });
    begins.recv().expect("it begins");
    fiber(ready).join();
    let (read, error) = reader.join();
    assert!(read > 0, "{name}: {error}");
    for number in [number, other] {
        // SAFETY: closes what `make` made, if it did.
        unsafe { libc::close(number) };
    }
}

#[test]
fn a_number_that_is_given_out_again_is_a_new_file() {
    if !alone("a_number_that_is_given_out_again_is_a_new_file") {
        return;
    }
    start();
    fibers_wait();
    // The first two free ones.
    let (first, second) = {
        let pair = UnixStream::pair().expect("a pair");
        (pair.0.as_raw_fd(), pair.1.as_raw_fd())
    };
    let write = |number: c_int, bytes: &'static [u8]| -> Box<dyn FnOnce() + Send> {
        Box::new(move || {
            // SAFETY: as many bytes as said.
            let written = unsafe { libc::write(number, bytes.as_ptr().cast(), bytes.len()) };
            assert_eq!(written, bytes.len() as isize);
        })
    };
    let mut numbers = [0; 2];
    waits("pipe", first, second, || {
        // SAFETY: room for two.
        assert_eq!(unsafe { libc::pipe(numbers.as_mut_ptr()) }, 0);
        (numbers[0], write(numbers[1], b"x"))
    });
    waits("pipe2", first, second, || {
        // SAFETY: room for two.
        assert_eq!(unsafe { libc::pipe2(numbers.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        (numbers[0], write(numbers[1], b"x"))
    });
    waits("socketpair", first, second, || {
        let pair = numbers.as_mut_ptr();
        // SAFETY: room for two.
        assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair) }, 0);
        (numbers[0], write(numbers[1], b"x"))
    });
    waits("eventfd", first, first, || {
        // SAFETY: makes a descriptor.
        let number = unsafe { libc::eventfd(0, 0) };
        (number, write(number, &[1, 0, 0, 0, 0, 0, 0, 0]))
    });
    waits("timerfd", first, first, || {
        // SAFETY: makes a descriptor.
        let number = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) };
        let ready = move || {
            // SAFETY: all-zero is a valid time.
            let mut time: libc::itimerspec = unsafe { std::mem::zeroed() };
            time.it_value.tv_nsec = 1;
            // SAFETY: a valid time.
            unsafe { libc::timerfd_settime(number, 0, &raw const time, std::ptr::null_mut()) };
        };
        (number, Box::new(ready))
    });
    waits("socket", first, first, || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        let ready = move || {
            let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
            other.send_to(b"x", address).expect("loopback");
        };
        (std::os::fd::IntoRawFd::into_raw_fd(socket), Box::new(ready))
    });
    let directory =
        std::env::temp_dir().join(format!("timestop-descriptors-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("a directory of our own");
    let path = directory.join("fifo");
    let name = std::ffi::CString::new(path.to_str().expect("text")).expect("no zero");
    // SAFETY: a path.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    waits("open", first, first, || {
        // SAFETY: a path; for both directions, opening does not wait.
        let number = unsafe { libc::open(name.as_ptr(), libc::O_RDWR) };
        (number, write(number, b"x"))
    });
    waits("inotify", first, first, || {
        // SAFETY: makes a descriptor.
        let number = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
        let to = std::ffi::CString::new(directory.to_str().expect("text")).expect("no zero");
        // SAFETY: a path.
        assert!(unsafe { libc::inotify_add_watch(number, to.as_ptr(), libc::IN_CREATE) } >= 0);
        let file = directory.join("file");
        (number, Box::new(move || std::fs::write(file, "x").expect("writes")))
    });
    std::fs::remove_dir_all(&directory).expect("ours");
}

/// A descriptor that comes with a message is a new file too.
#[test]
fn a_number_that_comes_with_a_message_is_a_new_file() {
    if !alone("a_number_that_comes_with_a_message_is_a_new_file") {
        return;
    }
    start();
    fibers_wait();
    let (here, there) = UnixStream::pair().expect("a pair");
    let (sent, mut peer) = UnixStream::pair().expect("a pair");
    let mut byte = [0_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0_u64; 8];
    // SAFETY: all-zero is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: computes a number.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as usize;
    // SAFETY: there is room for one record.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    let record = libc::cmsghdr {
        // SAFETY: computes a number.
        cmsg_len: unsafe { libc::CMSG_LEN(4) } as usize,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: as above.
    unsafe { header.write(record) };
    // SAFETY: as above.
    let place = unsafe { libc::CMSG_DATA(header) }.cast::<c_int>();
    // SAFETY: as above.
    unsafe { place.write_unaligned(sent.as_raw_fd()) };
    // SAFETY: a whole message.
    assert_eq!(unsafe { libc::sendmsg(here.as_raw_fd(), &raw const message, 0) }, 1);
    drop(sent);
    // `drop` has freed the number that is the lowest now.
    let free = UnixStream::pair().expect("a pair").0.as_raw_fd();
    leave_stale_knowledge();
    // SAFETY: as above.
    unsafe { place.write_unaligned(-1) };
    // SAFETY: a whole message.
    assert_eq!(unsafe { libc::recvmsg(there.as_raw_fd(), &raw mut message, 0) }, 1);
    // SAFETY: the kernel has written a number.
    let number = unsafe { place.read_unaligned() };
    assert_eq!(number, free, "the lowest number");
    let (done, begins) = channel();
    let reader = fiber(move || {
        // SAFETY: ours since it came.
        let mut stream = unsafe { UnixStream::from_raw_fd(number) };
        done.send(()).expect("the test listens");
        let mut byte = [0];
        stream.read(&mut byte).map(|count| (count, byte))
    });
    begins.recv().expect("it begins");
    fiber(move || peer.write_all(&[9]).expect("connected")).join();
    assert_eq!(reader.join().expect("it waits"), (1, [9]));
}

/// Puts the file of one number under another, past every hook.
fn replace_unseen(number: c_int, by: c_int) {
    // SAFETY: the test owns both.
    let result =
        unsafe { syscalls::raw_syscall!(syscalls::Sysno::dup3, by, number, libc::O_CLOEXEC) };
    assert_eq!(result, number as usize);
}

/// A byte of it, or the error.
fn read_byte(number: c_int) -> Result<u8, Option<i32>> {
    let mut byte = [0_u8];
    // SAFETY: one byte.
    match unsafe { libc::read(number, byte.as_mut_ptr().cast(), 1) } {
        1 => Ok(byte[0]),
        0 => Err(None),
        _ => Err(std::io::Error::last_os_error().raw_os_error()),
    }
}

#[test]
fn a_number_that_was_replaced_unseen_is_found_out() {
    if !alone("a_number_that_was_replaced_unseen_is_found_out") {
        return;
    }
    start();
    let (plain, mut writer) = std::io::pipe().expect("a pipe");
    let (asking, _kept) = std::io::pipe().expect("a pipe");
    // SAFETY: reads and writes flags.
    let set = unsafe { libc::fcntl(asking.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(set, 0);
    // SAFETY: a number for each test.
    let numbers = [(); 2].map(|()| unsafe { libc::dup(asking.as_raw_fd()) });
    let (plain_number, asking_number) = (plain.as_raw_fd(), asking.as_raw_fd());

    // From a file that does not wait to one that does. (A duplicate's mode is asked each time; this number is
    // known as no duplicate once it was forgotten.)
    let [number, other] = numbers;
    timestop_runtime::reactor::descriptor::forget(number);
    timestop_runtime::reactor::descriptor::forget(other);
    assert_eq!(on_fiber(move || read_byte(number)), Err(Some(libc::EAGAIN)));
    replace_unseen(number, plain_number);
    let waits = fiber(move || read_byte(number));
    writer.write_all(b"x").expect("room");
    assert_eq!(waits.join(), Ok(b'x'));

    // From one that waits to one that does not: the wait is looked at again.
    replace_unseen(other, plain_number);
    let waits = fiber(move || read_byte(other));
    writer.write_all(b"y").expect("room");
    assert_eq!(waits.join(), Ok(b'y'));
    let (go, gate) = channel::<()>();
    let waits = fiber(move || {
        let first = read_byte(other);
        gate.recv().expect("the test says");
        (first, read_byte(other))
    });
    writer.write_all(b"z").expect("room");
    replace_unseen(other, asking_number);
    go.send(()).expect("it listens");
    let (first, second) = waits.join();
    assert!(first == Ok(b'z') || first == Err(Some(libc::EAGAIN)), "{first:?}");
    assert_eq!(second, Err(Some(libc::EAGAIN)));
}
