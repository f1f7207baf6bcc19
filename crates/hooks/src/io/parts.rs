//! The buffers of a vectored call, and what is left of them after some bytes.

use libc::iovec;

/// The buffers of a vectored call.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub(super) first: *const iovec,
    pub(super) count: usize,
}

impl Parts {
    pub(super) fn new(first: *const iovec, count: usize) -> Self {
        Self { first, count }
    }

    fn length(&self, index: usize) -> usize {
        // SAFETY: the caller of the hook passes that many buffers …
        let part = unsafe { self.first.add(index) };
        // SAFETY: … all of them valid.
        unsafe { (*part).iov_len }
    }

    pub(super) fn total(&self) -> usize {
        (0..self.count).map(|index| self.length(index)).sum()
    }

    /// What is left after `done` bytes: the rest of a buffer that was begun, alone in `part`, or the
    /// buffers that follow.
    pub(super) fn after(&self, mut done: usize, part: &mut iovec) -> (*mut iovec, usize) {
        let mut index = 0;
        while index < self.count && done >= self.length(index) {
            done -= self.length(index);
            index += 1;
        }
        // SAFETY: `index` is at most one past the last buffer.
        let at = unsafe { self.first.add(index) };
        if done == 0 || index == self.count {
            return (at.cast_mut(), self.count - index);
        }
        // SAFETY: a buffer of the caller's, begun but not done.
        let begun = unsafe { *at };
        *part = iovec {
            iov_base: begun.iov_base.wrapping_byte_add(done),
            iov_len: begun.iov_len - done,
        };
        (part, 1)
    }
}
