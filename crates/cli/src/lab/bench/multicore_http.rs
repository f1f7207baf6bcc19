//! Views that compute for two milliseconds, on one core and on two: who has a use for the second?
//!
//! Sixteen clients keep the server busy. They need next to nothing themselves, so that it matters little if they have to
//! share its cores.

use super::echo::with_server;
use super::http::wrk::Wrk;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let (warm_up, window) = trial.pick((1, 2), (0, 1));
    let load = Wrk { connections: 16, path: "/spin?ms=2", warm_up, window };
    with_server(trial, |server| load.put_on(server))
}
