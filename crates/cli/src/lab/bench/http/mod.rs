//! An HTTP server under load, keep-alive, 1,024 bytes an answer.
//!
//! The server has the first core and one worker; `wrk` has the second. Against the fastest servers wrk's core is full as
//! well: then CPU time a request is the figure to compare, not requests a second.

use super::echo::with_server;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

pub(in crate::lab) mod client;
pub(in crate::lab) mod server;
pub(in crate::lab) mod wrk;

use wrk::Wrk;

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let load = Wrk {
        connections: trial.parameter(),
        path: "/",
        warm_up: trial.pick(1, 0),
        window: trial.pick(2, 1),
    };
    with_server(trial, |server| load.put_on(server))
}
