//! Standard error and system calls without libc: a suspended fiber may hold std's lock on standard
//! error, and libc's symbols are hooked.

use std::io;

use syscalls::{Errno, Sysno, raw_syscall};

/// A raw result as a value or an error number.
pub(crate) fn outcome(result: usize) -> Result<usize, i32> {
    Errno::from_ret(result).map_err(Errno::into_raw)
}

/// Descriptor 2, unbuffered and without a lock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the kernel reads that many bytes.
        let written = unsafe { raw_syscall!(Sysno::write, 2, bytes.as_ptr(), bytes.len()) };
        outcome(written).map_err(io::Error::from_raw_os_error)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads memory of this process that may be gone: an error in place of a fault.
pub(crate) fn peek(address: usize) -> Option<u32> {
    let mut word = 0_u32;
    let local = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 4 };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: 4 };
    let process = timestop_runtime::sys::process_id();
    // SAFETY: the kernel writes the word, and checks the other address.
    let read = outcome(unsafe {
        raw_syscall!(Sysno::process_vm_readv, process, &raw const local, 1, &raw const remote, 1, 0)
    });
    (read == Ok(4)).then_some(word)
}
