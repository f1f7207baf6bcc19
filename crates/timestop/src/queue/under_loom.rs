//! The core of the queues, for the model checker. See the channels' of the same name.

#![allow(dead_code)] // the models use a part of it

mod core;
mod heap;
mod order;

#[cfg(test)]
mod model;
