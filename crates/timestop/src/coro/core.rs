//! What lies at the top of a generator's stack, how it gets there, and what the stack runs.
//!
//! ```text
//!   Base │ Core: yielder, result │ the closure, until it is called │ frames ◀ grows
//! ```

use std::cell::Cell;
use std::mem::{self, MaybeUninit};
use std::panic::{self, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::{io, thread};

use timestop_fiber::aside::Base;

use super::generator::Generator;
use super::stacks;
use super::yielder::Yielder;

/// What lies at the top of a generator's stack, beneath its base. The closure lies beneath it.
pub(super) struct Core<Y, R, T> {
    pub(super) yielder: Yielder<Y, R>,
    pub(super) result: Cell<MaybeUninit<thread::Result<T>>>,
    /// While its body has not been called.
    pub(super) fresh: Cell<Option<Closure>>,
}

/// A closure on a generator's stack, and how it is dropped.
pub(super) type Closure = (NonNull<()>, unsafe fn(NonNull<()>));

/// Name and stack of a generator to be made.
#[derive(Debug, Clone)]
#[must_use = "must eventually make the generator"]
pub struct Builder {
    name: Option<&'static str>,
    stack_size: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Named after the type of its body, with the usual stack.
    pub fn new() -> Self {
        Self { name: None, stack_size: stacks::USUAL }
    }

    /// What errors and reports call it.
    pub fn name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Bytes of stack: at least this much, and 64 KiB. Address space, not memory.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Makes the generator. Nothing of `body` runs before it is first resumed.
    ///
    /// # Errors
    ///
    /// `Unsupported` where stacks cannot be made (as fibers), `OutOfMemory` where there is no room for one more;
    /// the text says what to do.
    pub fn generator<Y, R, T>(
        self,
        body: impl FnOnce(&Yielder<Y, R>) -> T + 'static,
    ) -> io::Result<Generator<Y, R, T>>
    where
        Y: 'static,
        R: 'static,
        T: 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { self.unscoped(body) }
    }

    /// # Safety
    ///
    /// What is borrowed by `body` and by the types outlives the generator, which is dropped.
    pub(super) unsafe fn unscoped<Y, R, T, F: FnOnce(&Yielder<Y, R>) -> T>(
        self,
        body: F,
    ) -> io::Result<Generator<Y, R, T>> {
        let name = self.name.unwrap_or_else(std::any::type_name::<F>);
        // Counted in full wherever they lie.
        let room = size_of::<Core<Y, R, T>>() + align_of::<Core<Y, R, T>>();
        let room = room + size_of::<F>() + align_of::<F>() + 64;
        let base = stacks::take(self.stack_size.saturating_add(room), name)?;
        let place = below::<Core<Y, R, T>>(base.as_ptr() as usize);
        let closure = below::<F>(place.as_ptr() as usize);
        let core = Core {
            yielder: Yielder::new(place.cast(), base),
            result: Cell::new(MaybeUninit::uninit()),
            fresh: Cell::new(Some((closure.cast(), drop_closure::<F>))),
        };
        // SAFETY: on the stack that is ours, aligned, below its base.
        unsafe { place.write(core) };
        // SAFETY: as above, below the core.
        unsafe { closure.write(body) };
        let top = closure.as_ptr() as usize & !15;
        // SAFETY: the base lies on the stack that is ours.
        let base = unsafe { base.as_ref() };
        // SAFETY: nothing lies below the closure. `run` catches what its closure unwinds with.
        unsafe { base.prepare(top, run::<Y, R, T, F>, place.as_ptr() as usize) };
        Ok(Generator::of(place, name))
    }
}

// `place.cast()` above: the yielder is what the core begins with.
const _: () = assert!(mem::offset_of!(Core<u8, u8, u8>, yielder) == 0);

/// A place for a value below an address.
fn below<V>(address: usize) -> NonNull<V> {
    let place = (address - size_of::<V>()) & !(align_of::<V>().max(16) - 1);
    NonNull::new(place as *mut V).expect("stacks do not lie at address 0")
}

/// # Safety
///
/// A closure of this type lies there, and is nobody's.
unsafe fn drop_closure<F>(closure: NonNull<()>) {
    // SAFETY: as the caller vouches.
    unsafe { closure.cast::<F>().drop_in_place() };
}

/// What a generator's stack runs.
///
/// # Safety
///
/// The argument is a fresh [`Core`] of these types, which was resumed with a value.
unsafe extern "C" fn run<Y, R, T, F: FnOnce(&Yielder<Y, R>) -> T>(core: usize) {
    // SAFETY: as the caller vouches. The core goes after this has returned.
    let core = unsafe { &*(core as *const Core<Y, R, T>) };
    // SAFETY: it was resumed for the first time, with a value.
    unsafe { core.yielder.begin() };
    let Some((closure, _)) = core.fresh.take() else { unreachable!("it is resumed first once") };
    // SAFETY: written when the core was made, and not dropped: it was marked as fresh.
    let body = unsafe { closure.cast::<F>().read() };
    let result = panic::catch_unwind(AssertUnwindSafe(|| body(&core.yielder)));
    core.result.set(MaybeUninit::new(result));
}

/// Drops a core and gives its stack back.
///
/// # Safety
///
/// What ran there has finished or never began, and nobody else has the core.
pub(super) unsafe fn discard<Y, R, T>(core: NonNull<Core<Y, R, T>>) {
    // SAFETY: the caller has the core.
    let base: NonNull<Base> = unsafe { core.as_ref() }.yielder.own.base;
    // SAFETY: as the caller vouches. Its destructors are those of a value that nobody took, and of an error.
    unsafe { ptr::drop_in_place(core.as_ptr()) };
    // SAFETY: as the caller vouches.
    unsafe { stacks::give(base) };
}
