//! Generators and greenlets.

mod generator;
mod raised;
mod stacks;
mod yielder;

pub use generator::{Builder, Generator, Scoped, Step, scoped};
pub use raised::{GeneratorExit, IgnoredExit, Payload, Raised};
pub use yielder::Yielder;
