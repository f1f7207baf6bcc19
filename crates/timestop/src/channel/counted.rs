//! Who holds a channel: how many senders, how many receivers. The last of a kind closes the channel; the
//! last of all frees it.
//!
//! Source: crossbeam-channel's `counter`.

use std::process;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::shared::Shared;

/// A channel with its counts.
#[derive(Debug)]
pub(super) struct Counted<T> {
    pub(super) shared: Shared<T>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// One of the kinds is gone: whoever finds it so frees.
    half: AtomicBool,
}

/// A hold on one side of a channel.
#[derive(Debug)]
pub(super) struct Hold<T, const SENDS: bool>(NonNull<Counted<T>>);

// SAFETY: a shared channel hands `T`s from one thread to another, and nothing else is reached.
unsafe impl<T: Send, const SENDS: bool> Send for Hold<T, SENDS> {}
// SAFETY: as above: all is under the channel's lock or atomic.
unsafe impl<T: Send, const SENDS: bool> Sync for Hold<T, SENDS> {}

/// A channel, held on both sides.
pub(super) fn channel<T>(capacity: usize) -> (Hold<T, true>, Hold<T, false>) {
    let counted = Box::new(Counted {
        shared: Shared::new(capacity),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        half: AtomicBool::new(false),
    });
    let counted = NonNull::from(Box::leak(counted));
    (Hold(counted), Hold(counted))
}

impl<T, const SENDS: bool> Hold<T, SENDS> {
    #[inline]
    fn counted(&self) -> &Counted<T> {
        // SAFETY: not freed before the last hold is gone.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(super) fn shared(&self) -> &Shared<T> {
        &self.counted().shared
    }

    pub(super) fn senders(&self) -> usize {
        self.counted().senders.load(Ordering::Relaxed)
    }

    pub(super) fn receivers(&self) -> usize {
        self.counted().receivers.load(Ordering::Relaxed)
    }

    fn side(&self) -> &AtomicUsize {
        if SENDS { &self.counted().senders } else { &self.counted().receivers }
    }
}

impl<T, const SENDS: bool> Clone for Hold<T, SENDS> {
    fn clone(&self) -> Self {
        // Relaxed: made from a hold that there is.
        if self.side().fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
            process::abort(); // forgotten clones: the count would wrap
        }
        Self(self.0)
    }
}

impl<T, const SENDS: bool> Drop for Hold<T, SENDS> {
    fn drop(&mut self) {
        // AcqRel: what the others of the kind did came before.
        if self.side().fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        self.shared().close();
        if !SENDS {
            self.shared().discard();
        }
        if self.counted().half.swap(true, Ordering::AcqRel) {
            // SAFETY: made by `channel`; both kinds are gone.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}
