//! The models besides plain fibers: queues, coordination.

#[path = "../it/support.rs"]
#[allow(dead_code)] // each target uses a part of it
mod support;

mod queue;
mod sync;

/// Whether the fiber is suspended.
fn waits<T>(fiber: &timestop::JoinHandle<T>) -> bool {
    let infos = timestop::fibers(usize::MAX);
    infos.iter().any(|info| info.id == fiber.id() && info.state == timestop::FiberState::Waiting)
}
