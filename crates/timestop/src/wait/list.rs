//! A linked list of what lies with those who wait: on their stacks, in their futures. Nothing is allocated, and one in the
//! middle leaves as soon as the first.
//!
//! All of it, the links of those who are in it too, is touched under one lock, or while they stand in no list.

use std::cell::Cell;
use std::ptr::{self, NonNull};

/// What one needs to stand in a list.
#[derive(Debug)]
pub(crate) struct Links<N> {
    listed: Cell<bool>,
    previous: Cell<*const N>,
    next: Cell<*const N>,
}

impl<N> Links<N> {
    /// Of one that stands nowhere.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            listed: Cell::new(false),
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        }
    }
}

/// What can stand in a list, one at a time.
pub(crate) trait Linked: Sized {
    fn links(&self) -> &Links<Self>;
}

/// First in, first out, but for those who leave.
#[derive(Debug)]
pub(crate) struct List<N> {
    first: *const N,
    last: *const N,
}

impl<N> List<N> {
    pub(crate) const fn new() -> Self {
        Self { first: ptr::null(), last: ptr::null() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }
}

impl<N: Linked> List<N> {
    /// Appends one, which stays where it is until it is taken or removed.
    #[inline]
    pub(crate) fn push(&mut self, node: &N) {
        let links = node.links();
        links.listed.set(true);
        links.next.set(ptr::null());
        links.previous.set(self.last);
        // SAFETY: null, or listed, and so where it was.
        match unsafe { self.last.as_ref() } {
            Some(last) => last.links().next.set(node),
            None => self.first = node,
        }
        self.last = node;
    }

    /// Takes one out; false if it is in no list.
    #[inline]
    pub(crate) fn remove(&mut self, node: &N) -> bool {
        let links = node.links();
        if !links.listed.replace(false) {
            return false;
        }
        let (previous, next) = (links.previous.get(), links.next.get());
        // SAFETY: null, or listed, and so where it was.
        match unsafe { previous.as_ref() } {
            Some(other) => other.links().next.set(next),
            None => self.first = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(other) => other.links().previous.set(previous),
            None => self.last = previous,
        }
        true
    }

    /// Takes out the first.
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<NonNull<N>> {
        // SAFETY: null, or listed, and so where it was.
        let node = unsafe { self.first.as_ref() }?;
        self.remove(node);
        Some(NonNull::from(node))
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &N> {
        // SAFETY: null, or listed, and so where it was; the list is borrowed meanwhile.
        let mut current = unsafe { self.first.as_ref() };
        std::iter::from_fn(move || {
            let node = current?;
            // SAFETY: as above.
            current = unsafe { node.links().next.get().as_ref() };
            Some(node)
        })
    }
}
