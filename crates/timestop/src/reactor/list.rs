//! Several Deferreds as one.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic::Location;
use std::rc::Rc;

use super::deferred::Deferred;
use super::error::FirstError;
use super::node::{Next, Node, Outcome, run};
use super::report;

/// Waits for several Deferreds.
///
/// It takes them, so that an error is in the list's result and nowhere else; in Twisted they stay, and the error
/// is in both unless the list consumes it. What is left of that: an error that comes after the list has fired
/// goes to nobody, and is reported unless [`consume_errors`](Self::consume_errors) says otherwise.
///
/// Cancelling the list's Deferred cancels all that have not fired.
///
/// Source: `twisted.internet.defer.DeferredList`.
///
/// ```
/// use timestop::reactor::{DeferredList, Failure, Listed, fail, succeed};
///
/// let all = DeferredList::<u32>::new([succeed(1), fail("none".into())]).into_deferred();
/// let Ok(Ok(Listed::All(results))) = all.try_result() else { panic!("all have fired") };
/// assert_eq!(results[0].as_ref().unwrap(), &1);
/// assert!(results[1].is_err());
/// ```
#[derive(Debug)]
#[must_use = "it waits once `into_deferred` is called"]
pub struct DeferredList<T: 'static, E: 'static = super::Failure> {
    deferreds: Vec<Deferred<T, E>>,
    options: Options,
}

#[derive(Debug, Clone, Copy, Default)]
struct Options {
    first_value: bool,
    first_error: bool,
    consume_errors: bool,
}

/// What a [`DeferredList`] fires with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed<T, E> {
    /// What has come of each, in the order of the list.
    All(Vec<Result<T, E>>),
    /// The first value, where [`fire_on_one_callback`](DeferredList::fire_on_one_callback) asks for it.
    First {
        /// Its place in the list.
        index: usize,
        /// The value.
        value: T,
    },
}

/// What the list and its Deferreds share. They own the list's node.
struct State<T: 'static, E: 'static> {
    results: RefCell<Vec<Option<Result<T, E>>>>,
    left: Cell<usize>,
    node: Rc<Node<Listed<T, E>, FirstError<E>>>,
    options: Options,
}

impl<T: 'static, E: Debug + 'static> DeferredList<T, E> {
    /// A list that fires when all have.
    pub fn new(deferreds: impl IntoIterator<Item = Deferred<T, E>>) -> Self {
        Self { deferreds: deferreds.into_iter().collect(), options: Options::default() }
    }

    /// Fires with the first value that there is. (Without any Deferred it then never fires.)
    pub fn fire_on_one_callback(mut self) -> Self {
        self.options.first_value = true;
        self
    }

    /// Fails with the first error that there is.
    pub fn fire_on_one_errback(mut self) -> Self {
        self.options.first_error = true;
        self
    }

    /// Drops errors that come when the list has fired.
    pub fn consume_errors(mut self) -> Self {
        self.options.consume_errors = true;
        self
    }

    /// The list as a Deferred.
    #[track_caller]
    pub fn into_deferred(self) -> Deferred<Listed<T, E>, FirstError<E>> {
        let options = self.options;
        let nodes: Vec<_> = self.deferreds.into_iter().map(Deferred::into_node).collect();
        let upstream = nodes.iter().map(Node::to_be_cancelled).collect();
        let made_at = Location::caller();
        let list = Node::waiting(upstream, made_at);
        let deferred = Deferred::of(Rc::clone(&list));
        if nodes.is_empty() && !options.first_value {
            run(list.settle(Outcome::Fired(Ok(Listed::All(Vec::new())))));
            return deferred;
        }
        let state = Rc::new(State {
            results: RefCell::new(nodes.iter().map(|_| None).collect()),
            left: Cell::new(nodes.len()),
            node: list,
            options,
        });
        for (index, node) in nodes.into_iter().enumerate() {
            let state = Rc::clone(&state);
            let made_at = node.made_at();
            run(node.continue_with(Box::new(move |outcome| match outcome {
                Outcome::Fired(result) => state.came(index, result, made_at),
                Outcome::Panicked(payload) if !state.node.is_fired() => {
                    state.node.settle(Outcome::Panicked(payload))
                }
                Outcome::Panicked(payload) => {
                    report::unhandled(made_at, &report::panic_text(&*payload));
                    None
                }
            })));
        }
        deferred
    }
}

impl<T: 'static, E: Debug + 'static> State<T, E> {
    fn came(&self, index: usize, result: Result<T, E>, made_at: &'static Location<'static>) -> Next {
        self.left.set(self.left.get() - 1);
        if self.node.is_fired() {
            if let Err(error) = result
                && !self.options.consume_errors
            {
                report::unhandled(made_at, &format!("{error:?}"));
            }
            return None;
        }
        match result {
            Ok(value) if self.options.first_value => {
                self.node.settle(Outcome::Fired(Ok(Listed::First { index, value })))
            }
            Err(error) if self.options.first_error => {
                self.node.settle(Outcome::Fired(Err(FirstError { index, error })))
            }
            result => {
                self.results.borrow_mut()[index] = Some(result);
                if self.left.get() > 0 {
                    return None;
                }
                let results = self.results.take().into_iter().flatten().collect();
                self.node.settle(Outcome::Fired(Ok(Listed::All(results))))
            }
        }
    }
}

/// All values, or the first error. Errors that come after it are dropped if `consume_errors`, else reported.
///
/// Cancelling it cancels all that have not fired.
///
/// Source: `twisted.internet.defer.gatherResults`.
#[track_caller]
pub fn gather_results<T: 'static, E: Debug + 'static>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
    consume_errors: bool,
) -> Deferred<Vec<T>, FirstError<E>> {
    let mut list = DeferredList::new(deferreds).fire_on_one_errback();
    list.options.consume_errors = consume_errors;
    list.into_deferred().map(|listed| match listed {
        Listed::All(results) => results.into_iter().filter_map(Result::ok).collect(),
        Listed::First { .. } => unreachable!("nobody asked for the first value"),
    })
}
