//! The core of the channels, for the model checker: all that decides who gets which message.
//!
//! Where a model has a time limit it has passed already ([`wait`](crate::wait)), so the checker sees it in
//! every order with what else happens. Who is never woken is a deadlock to loom, and a message that two touch at once
//! an error.

#![allow(dead_code)] // the models use a part of it

mod buffer;
mod meeting;
mod shared;
mod watch;

#[cfg(test)]
mod model;
