//! Generators and greenlets: functions that stop in the middle and go on later.
//!
//! In Python you write
//!
//! ```python
//! def leaves(tree):
//!     if isinstance(tree, list):
//!         for branch in tree:
//!             yield from leaves(branch)
//!     else:
//!         yield tree
//!
//! print(list(leaves([1, [2, [3]]])))
//! ```
//!
//! Here you write
//!
//! ```
//! use timestop::coro::{Generator, Yielder};
//!
//! enum Tree { Leaf(i32), Branch(Vec<Tree>) }
//! use Tree::{Branch, Leaf};
//!
//! // An ordinary function: it yields from whatever depth it is called at.
//! fn leaves(y: &Yielder<i32>, tree: &Tree) {
//!     match tree {
//!         Leaf(value) => y.yield_(*value),
//!         Branch(branches) => branches.iter().for_each(|branch| leaves(y, branch)),
//!     }
//! }
//!
//! let tree = Branch(vec![Leaf(1), Branch(vec![Leaf(2), Branch(vec![Leaf(3)])])]);
//! let leaves = Generator::<i32>::new(move |y| leaves(y, &tree));
//! assert_eq!(leaves.collect::<Vec<_>>(), [1, 2, 3]);
//! ```
//!
//! | Python | here |
//! |---|---|
//! | `def f(): … yield v` | [`Generator::new`]`(\|y\| … y.yield_(v))`; one that borrows: [`scoped`] |
//! | `for v in g`, `next(g)` | the same: it is an [`Iterator`] |
//! | `x = yield v`, `g.send(x)` | `let x = y.yield_(v)`, [`g.send(x)`](Generator::send) or [`resume`](Generator::resume) |
//! | `return r`, `StopIteration.value` | the closure's value; [`Step::Returned`], [`returned`](Generator::returned) |
//! | `yield from g` | [`y.yield_from(g)`](Yielder::yield_from) |
//! | `yield from iterable` | [`y.yield_all(iterable)`](Yielder::yield_all) |
//! | `g.throw(e)`, `try: yield v` `except E` | [`throw`](Generator::throw), [`try_yield`](Yielder::try_yield) |
//! | `g.close()`, `GeneratorExit` | [`close`](Generator::close), or dropping it; [`Raised::Exit`] |
//! | `finally:` | `Drop`, as ever |
//! | `StopIteration` within (PEP 479) | nothing: the end of an inner iterator is a `None` that one sees |
//! | greenlet: `g.switch(v)`, `getcurrent()` | [`Greenlet`] |
//! | Stackless: `tasklet`, `channel` | [`tasklet`] |
//! | Lua: `coroutine.wrap`, `resume`, `yield` | [`Generator`]; the arguments of the first `resume` are [`first`](Yielder::first) |
//!
//! A generator is another *stack* and no other thread: it has the thread-locals, `errno` and name of the fiber or
//! OS thread that resumes it. It may block in whatever it calls, be preempted, and go on on another OS thread
//! with its fiber. It needs no runtime: on an OS thread it works as well.

mod core;
mod generator;
mod greenlet;
mod raised;
mod scope;
mod stacks;
pub mod tasklet;
mod yielder;

pub use self::core::Builder;
pub use generator::{Generator, Step};
pub use greenlet::{Greenlet, GreenletExit, Value};
pub use raised::{GeneratorExit, IgnoredExit, Payload, Raised};
pub use scope::{Scoped, scoped};
pub use yielder::Yielder;
