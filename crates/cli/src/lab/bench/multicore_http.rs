//! Views that compute for two milliseconds, on one core and on two: who has a use for the second?
//!
//! Sixteen clients keep the server busy. They need next to nothing themselves, so on two cores they share them with it.

use super::http::start_on_first;
use super::http::wrk::Wrk;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let server = start_on_first(trial, trial.parameter())?;
    let load = Wrk {
        connections: 16,
        path: "/spin?ms=2",
        warm_up: trial.pick(2, 1),
        window: trial.pick(5, 1),
    };
    let measured = load.put_on(&server);
    server.unless_ended(measured)
}
