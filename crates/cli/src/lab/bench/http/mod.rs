//! An HTTP server under load, keep-alive, 1,024 bytes an answer.
//!
//! The server has the first core and one worker; `wrk` has the second. Against the fastest servers wrk's core is full as
//! well: then CPU time a request is the figure to compare, not requests a second.

use crate::lab::child::Server;
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

pub(in crate::lab) mod client;
pub(in crate::lab) mod server;
pub(in crate::lab) mod wrk;

use wrk::Wrk;

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let note = note(1);
    let server = start_on_first(trial, 1)?;
    let load = Wrk {
        connections: trial.parameter(),
        path: "/",
        warm_up: trial.pick(2, 1),
        window: trial.pick(5, 2),
    };
    let measured = load.put_on(&server);
    Ok(server.unless_ended(measured)?.with_note(note))
}

/// The server of `trial` on the first `count` cores, and this process and what it starts from now on beside it, if there
/// is another core.
pub(in crate::lab::bench) fn start_on_first(trial: &Trial, count: usize) -> Result<Server, String> {
    let cores = machine::cores();
    let count = count.min(cores.len());
    machine::pin_to(&cores[..count]);
    let mut command = trial.command(true).map_err(|error| error.to_string())?;
    let server = Server::start(&mut command);
    let others = if count < cores.len() { &cores[count..=count] } else { &cores };
    machine::pin_to(others);
    server
}

/// What a reader should know, if a server on `count` cores leaves none for the load. To be asked before it is started.
pub(in crate::lab::bench) fn note(count: usize) -> Option<String> {
    let cores = machine::cores().len();
    (cores <= count).then(|| format!("the load shares the server's cores, of {cores}"))
}
