//! `timestop run --html`: a process beside the program that shows its page.
//!
//! The program takes this process's place, so the page is served by a child of a child, which belongs to
//! nobody: `wait` of the program does not find it, its terminal's signals do not reach it, and it holds
//! none of the descriptors that the program was given. It ends when the program has.
//!
//! Rejected: an OS thread in the program (its port, its descriptors, its memory, and an HTTP server a
//! process; a program that is stopped would have a page that never loads); the program as the child (its
//! parent, exit status and terminal would be others').

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, WaitOptions, getpid, pidfd_open, setsid, waitpid};

use crate::serve::live;

/// Starts the page, prints where it is, and returns what the program's processes are to know.
pub(super) fn start(address: SocketAddr, program: &OsStr) -> Result<String, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("--html: {what}: {error}");
    let pages = TcpListener::bind(address)
        .map_err(|error| failed(&format!("cannot listen on {address}"), &error))?;
    let [name, token] = [random(), random()].map(|word| word.map_err(|e| failed("random", &e)));
    let (name, token) = (format!("timestop-{}", name?), token?);
    let processes = UnixAddr::from_abstract_name(&name)
        .and_then(|address| UnixListener::bind_addr(&address))
        .map_err(|error| failed("cannot make a socket", &error))?;
    let own = pidfd_open(getpid(), PidfdFlags::empty())
        .map_err(|error| failed("cannot watch the program", &error))?;
    let at = pages.local_addr().map_err(|error| failed("cannot tell the address", &error))?;
    let title = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
    beside(|| {
        leave(&[pages.as_raw_fd(), processes.as_raw_fd(), own.as_raw_fd()]);
        let ended = move || has_ended(&own);
        let _ = live::serve(pages, processes, (title, token.clone()), ended);
    })
    .map_err(|error| failed("cannot start a process", &error))?;
    eprintln!("timestop: live page of {} at http://{at}/", program.to_string_lossy());
    Ok(format!("{name}:{token}"))
}

/// 128 bits that nobody guesses.
fn random() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs `work` in a process that is nobody's child.
fn beside(work: impl FnOnce()) -> std::io::Result<()> {
    let mut work = Some(work);
    // SAFETY: this process has one thread: the child is whole.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => {
            let _ = setsid();
            // SAFETY: as above.
            let last = unsafe { libc::fork() };
            if last == 0
                && let Some(work) = work.take()
            {
                work();
            }
            // SAFETY: ends the process, without what the parent has registered for its own end.
            unsafe { libc::_exit(i32::from(last < 0)) }
        }
        child => {
            let child = rustix::process::Pid::from_raw(child);
            let status = waitpid(child, WaitOptions::empty())?;
            match status.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(()),
                _ => Err(std::io::Error::other("a second fork failed")),
            }
        }
    }
}

/// Gives up everything that the program was given, but for these.
fn leave(kept: &[i32]) {
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> =
        open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2 && !kept.contains(number)) {
        // SAFETY: nothing of this process uses what the program was given.
        unsafe { libc::close(number) };
    }
    let _ = std::env::set_current_dir("/");
    let _ = rustix::thread::set_name(c"timestop-page");
}

/// Waits for the program's end.
fn has_ended(program: &OwnedFd) {
    let mut polled = [PollFd::new(program, PollFlags::IN)];
    while poll(&mut polled, None) == Err(rustix::io::Errno::INTR) {}
}
