//! In which order items come out: [`Fifo`], [`Lifo`], [`Smallest`].
//!
//! Adding and taking are two steps each. The first looks where the item goes, or what has to move; it changes
//! nothing, and is all that may run code of others, which may panic. The second moves.

use std::collections::VecDeque;
use std::fmt;

use super::heap::Heap;

/// First in, first out.
#[derive(Debug, Clone, Copy)]
pub enum Fifo {}

/// Last in, first out.
#[derive(Debug, Clone, Copy)]
pub enum Lifo {}

/// The smallest first; of equal ones, the one that came first.
#[derive(Debug, Clone, Copy)]
pub enum Smallest {}

/// An order of a queue's items: [`Fifo`], [`Lifo`] or [`Smallest`].
pub trait Order<T>: Sealed<T> {}

impl<T> Order<T> for Fifo {}
impl<T> Order<T> for Lifo {}
impl<T: Ord> Order<T> for Smallest {}

/// Nobody else can make one.
pub trait Sealed<T> {
    /// Where the items are.
    type Store: Store<T>;
    /// Whether code of others compares the items.
    const COMPARES: bool = false;
}

impl<T> Sealed<T> for Fifo {
    type Store = Line<T>;
}

impl<T> Sealed<T> for Lifo {
    type Store = Pile<T>;
}

impl<T: Ord> Sealed<T> for Smallest {
    type Store = Heap<T>;
    const COMPARES: bool = true;
}

/// The items of a queue.
pub trait Store<T>: Default {
    /// Where a new item goes.
    type Spot;
    /// What moves when the next item is taken.
    type Way;

    /// How many there are.
    fn len(&self) -> usize;
    /// Where `item` goes. Changes nothing; may panic.
    fn spot(&self, item: &T) -> Self::Spot;
    /// Adds the item for which the spot was looked up, nothing having changed since.
    fn add(&mut self, item: T, spot: Self::Spot);
    /// How the next item can be taken, and `instead` added, if there is one; `None` if there are no items.
    /// Changes nothing; may panic.
    fn way(&self, instead: Option<&T>) -> Option<Self::Way>;
    /// Takes the next item in the way that was looked up, and adds the other.
    fn take(&mut self, way: Self::Way, instead: Option<T>) -> T;
    /// All that is left, next first where that needs no comparing.
    fn into_vec(self) -> Vec<T>;
}

/// Items in the order in which they came.
pub struct Line<T>(VecDeque<T>);

/// Items on top of each other.
pub struct Pile<T>(Vec<T>);

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Default for Pile<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Store<T> for Line<T> {
    type Spot = ();
    type Way = ();

    fn len(&self) -> usize {
        self.0.len()
    }

    fn spot(&self, _item: &T) {}

    fn add(&mut self, item: T, (): ()) {
        self.0.push_back(item);
    }

    fn way(&self, _instead: Option<&T>) -> Option<()> {
        (!self.0.is_empty()).then_some(())
    }

    fn take(&mut self, (): (), instead: Option<T>) -> T {
        let item = self.0.pop_front().expect("there was an item");
        self.0.extend(instead);
        item
    }

    fn into_vec(self) -> Vec<T> {
        self.0.into()
    }
}

impl<T> Store<T> for Pile<T> {
    type Spot = ();
    type Way = ();

    fn len(&self) -> usize {
        self.0.len()
    }

    fn spot(&self, _item: &T) {}

    fn add(&mut self, item: T, (): ()) {
        self.0.push(item);
    }

    fn way(&self, _instead: Option<&T>) -> Option<()> {
        (!self.0.is_empty()).then_some(())
    }

    fn take(&mut self, (): (), instead: Option<T>) -> T {
        let item = self.0.pop().expect("there was an item");
        self.0.extend(instead);
        item
    }

    fn into_vec(mut self) -> Vec<T> {
        self.0.reverse();
        self.0
    }
}

impl<T> fmt::Debug for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({} items)", self.0.len())
    }
}

impl<T> fmt::Debug for Pile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pile({} items)", self.0.len())
    }
}
