//! One call for many who ask for the same at the same time.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};

use crate::wait::held::Mutex;
use crate::wait::sleeper::interrupted;
use crate::wait::sync::{For, Interrupted, Limit, caller};
use crate::wait::waiter::Queue;

/// Has one do what several ask for at the same time, and gives all of them what came of it.
///
/// In Go you write
///
/// ```go
/// var flight singleflight.Group
/// v, err, shared := flight.Do(key, func() (any, error) { return load(key) })
/// ```
///
/// Here you write
///
/// ```
/// # fn load(_: &str) -> Result<String, std::fmt::Error> { Ok("page".to_owned()) }
/// use timestop::sync::SingleFlight;
///
/// let flight = SingleFlight::new();
/// let answer = flight.run("key", || load("key")).unwrap();
/// let (value, shared) = (answer.value, answer.shared);
/// # assert_eq!((value, shared), (Ok("page".to_owned()), false));
/// ```
///
/// What was found is not kept: who asks after the call has ended starts another. Where Go's `DoChan` is
/// wanted, [`spawn`](crate::spawn) a fiber that asks.
///
/// Source: `golang.org/x/sync/singleflight`.
pub struct SingleFlight<K, V>(std::sync::Mutex<HashMap<K, Arc<Mutex<Flight<V>>>>>);

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<V> {
    /// What the call returned.
    pub value: V,
    /// Whether others have it as well.
    pub shared: bool,
}

struct Flight<V> {
    end: Option<Ended<V>>,
    followers: usize,
    waiters: Queue<()>,
    /// Who makes the call.
    leader: usize,
}

enum Ended<V> {
    Value(V),
    /// What it said.
    Panic(String),
}

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    /// One with no calls under way.
    #[must_use]
    pub fn new() -> Self {
        Self(std::sync::Mutex::new(HashMap::new()))
    }

    /// Calls `f`, unless a call for the same key is under way: then waits for that one. Its value is cloned
    /// for each who waits.
    ///
    /// If the fiber that calls `f` is cancelled or past its time limit, `f` fails as it may, and that is
    /// everyone's answer.
    ///
    /// # Errors
    ///
    /// Who waits was cancelled, or is past the time limit. The call goes on.
    ///
    /// # Panics
    ///
    /// If `f` does: with its own payload where it was called, and with what it said for those who wait. Also
    /// if `f` asks for its own key, which would wait for itself.
    pub fn run(&self, key: K, f: impl FnOnce() -> V) -> Result<Answer<V>, Interrupted> {
        let (flight, leads) = self.board(&key);
        if !leads {
            return follow(&flight);
        }
        let mut result = catch_unwind(AssertUnwindSafe(f));
        // Code of others, too: if it panics, that is the answer.
        let end = catch_unwind(AssertUnwindSafe(|| self.land(&key, &flight, &result)));
        let end = end.unwrap_or_else(|payload| {
            let end = Ended::Panic(text(&*payload).to_owned());
            result = Err(payload);
            Some(end)
        });
        let mut state = flight.lock();
        state.end = end;
        let shared = state.followers > 0;
        state.waiters.tell_all();
        drop(state);
        match result {
            Ok(value) => Ok(Answer { value, shared }),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Takes the flight out, so that nobody comes to it any more, and makes the answer for those who have.
    fn land(
        &self,
        key: &K,
        flight: &Arc<Mutex<Flight<V>>>,
        result: &std::thread::Result<V>,
    ) -> Option<Ended<V>> {
        let mut flights = self.lock();
        if flights.get(key).is_some_and(|there| Arc::ptr_eq(there, flight)) {
            flights.remove(key);
        }
        drop(flights);
        let followed = flight.lock().followers > 0;
        match result {
            Ok(value) => followed.then(|| Ended::Value(value.clone())),
            Err(payload) => Some(Ended::Panic(text(&**payload).to_owned())),
        }
    }

    /// Finds the flight for the key, or opens one; true for who opens it.
    fn board(&self, key: &K) -> (Arc<Mutex<Flight<V>>>, bool) {
        match self.lock().entry(key.clone()) {
            Entry::Occupied(there) => {
                let flight = Arc::clone(there.get());
                flight.lock().followers += 1;
                (flight, false)
            }
            Entry::Vacant(place) => {
                let flight = Flight {
                    end: None,
                    followers: 0,
                    waiters: Queue::new(),
                    leader: caller(),
                };
                (Arc::clone(place.insert(Arc::new(Mutex::new(flight)))), true)
            }
        }
    }

    /// Has the next who asks for the key start a new call, even if one is under way. Who waits for that one
    /// still does.
    pub fn forget(&self, key: &K) {
        let forgotten = self.lock().remove(key);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Mutex<Flight<V>>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a flight that another leads.
fn follow<V: Clone>(flight: &Mutex<Flight<V>>) -> Result<Answer<V>, Interrupted> {
    let mut state = flight.lock();
    if state.end.is_none() {
        if state.leader == caller() {
            state.followers -= 1;
            drop(state);
            panic!("timestop::sync::SingleFlight: a call asks for its own key");
        }
        let ended = interrupted().map_or_else(
            || flight.stand_by(state, |state| &mut state.waiters, For::Event, Limit::NONE),
            Err,
        );
        state = flight.lock();
        if let Err(why) = ended
            && state.end.is_none()
        {
            state.followers -= 1;
            return Err(why);
        }
    }
    match state.end.as_ref().expect("who is told finds it") {
        Ended::Value(value) => Ok(Answer { value: value.clone(), shared: true }),
        Ended::Panic(said) => {
            let said = said.clone();
            drop(state);
            panic!("timestop::sync::SingleFlight: the call that this one waits for panicked: {said}")
        }
    }
}

/// What a panic said.
fn text(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(no text)",
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "SingleFlight({} under way)", flights.len())
    }
}
