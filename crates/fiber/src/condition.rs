//! Where glibc keeps a condition variable's attributes (which clock, shared between processes or not): two
//! bits of a word that no header promises. It moved in glibc 2.41.
//!
//! Found by experiment, once at start: of four conditions with all pairs of attributes one word differs.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Unsupported;
use crate::fault::{self, Fault};

/// The bit of a condition that processes share.
pub const SHARED: u32 = 1;
/// The bit of a condition whose time limits are on `CLOCK_MONOTONIC`.
pub const MONOTONIC: u32 = 2;

const WORDS: usize = size_of::<libc::pthread_cond_t>() / 4;

static PLACE: AtomicUsize = AtomicUsize::new(0);

/// From the beginning of a condition to the word, in bytes. Known once [`init`](crate::init) has succeeded.
#[inline]
pub fn attributes() -> usize {
    PLACE.load(Ordering::Relaxed)
}

/// A fresh condition with these attributes, word by word. `None` where libc refuses.
fn words(attributes: u32) -> Option<[u32; WORDS]> {
    let shared: c_int = (attributes & SHARED != 0).into();
    let monotonic = attributes & MONOTONIC != 0;
    let clock = if monotonic { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME };
    let mut wanted = MaybeUninit::<libc::pthread_condattr_t>::uninit();
    let mut condition = MaybeUninit::<libc::pthread_cond_t>::zeroed();
    // SAFETY: initialises the record.
    let mut status = unsafe { libc::pthread_condattr_init(wanted.as_mut_ptr()) };
    // SAFETY: initialised.
    status |= unsafe { libc::pthread_condattr_setpshared(wanted.as_mut_ptr(), shared) };
    // SAFETY: initialised.
    status |= unsafe { libc::pthread_condattr_setclock(wanted.as_mut_ptr(), clock) };
    // SAFETY: initialises the condition.
    status |= unsafe { libc::pthread_cond_init(condition.as_mut_ptr(), wanted.as_ptr()) };
    // SAFETY: initialised.
    unsafe { libc::pthread_condattr_destroy(wanted.as_mut_ptr()) };
    // SAFETY: as many words as it has; zero, or initialised. Nobody waits: nothing is to be destroyed.
    (status == 0).then(|| unsafe { condition.as_ptr().cast::<[u32; WORDS]>().read() })
}

/// Looks for the word.
pub(crate) fn learn() -> Result<(), Unsupported> {
    let all = [0, SHARED, MONOTONIC, SHARED | MONOTONIC].map(words);
    let place = match all {
        [Some(plain), Some(shared), Some(monotonic), Some(both)] => {
            let fits = |&index: &usize| {
                [plain, shared, monotonic, both].map(|words| words[index]) == [0, 1, 2, 3]
            };
            (0..WORDS).find(fits)
        }
        _ => None,
    };
    let place = fault::instead(Fault::Condition, place, None).ok_or_else(|| {
        Unsupported::new(
            "a word of a condition variable that holds its attributes".to_owned(),
            "none".to_owned(),
        )
    })?;
    PLACE.store(place * 4, Ordering::Relaxed);
    Ok(())
}
