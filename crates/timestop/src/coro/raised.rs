//! What is raised in a generator instead of handing it a value, and what it answers to a close.

use std::any::Any;
use std::error::Error;
use std::{fmt, panic};

/// What a panic carries, and [`throw`](super::Generator::throw).
pub type Payload = Box<dyn Any + Send>;

/// The payload by which a generator is unwound that is closed or dropped. Python's `GeneratorExit`.
///
/// It runs no panic hook and prints nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneratorExit;

/// What is raised in a generator at its `yield_`: see [`try_yield`](super::Yielder::try_yield).
#[must_use = "raise it again (`unwind`) unless it is dealt with"]
pub enum Raised {
    /// The generator is closed or dropped: it is to end, and not to yield again.
    Exit,
    /// An error, by [`throw`](super::Generator::throw).
    Error(Payload),
}

impl Raised {
    /// Whether the generator is to end.
    #[must_use]
    pub fn is_exit(&self) -> bool {
        matches!(self, Self::Exit)
    }

    /// The error, if it is of this type. Python's `except E`.
    ///
    /// # Errors
    ///
    /// Itself, to be raised again.
    pub fn downcast<E: Any>(self) -> Result<E, Self> {
        match self {
            Self::Exit => Err(Self::Exit),
            Self::Error(error) => error.downcast().map(|error| *error).map_err(Self::Error),
        }
    }

    /// Unwinds with it. Python's `raise`.
    #[cold]
    pub fn unwind(self) -> ! {
        match self {
            Self::Exit => panic::resume_unwind(Box::new(GeneratorExit)),
            Self::Error(error) => panic::resume_unwind(error),
        }
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_exit() { "Exit" } else { "Error(..)" })
    }
}

/// A generator has yielded when it was to end: Python's "generator ignored GeneratorExit".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredExit {
    pub(super) name: &'static str,
}

impl fmt::Display for IgnoredExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        write!(f, "generator '{name}' has ignored its close: it must not yield after `Raised::Exit`")
    }
}

impl Error for IgnoredExit {}
