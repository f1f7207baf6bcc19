//! Futures on fibers, and fibers as futures. Modules named after another project port the cases of its tests.

mod asyncio_tasks;
mod cancelling;
mod futures_block_on;
mod misuse;
mod sockets;
mod third_party;
mod tokio_join;
