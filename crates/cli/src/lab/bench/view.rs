//! A view that computes: what do the others notice?
//!
//! Some clients ask for `/spin` at once. Fifty others ask for `/`, again and again with a pause, from a while before until
//! the last who computes is answered. How long they wait for an answer is measured, the requests included that they could
//! not send because they were waiting (`lateness`), and how many of them were answered nothing at all meanwhile.
//!
//! The server has the first core; the clients, fibers of this process, have the second.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::echo::with_server;
use super::http::client::Client;
use crate::lab::lateness::Lateness;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

const OTHERS: usize = 50;
/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(10);

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let spin = format!("/spin?ms={}", trial.pick(1_000, 300));
    let warm_up = Duration::from_millis(trial.pick(500, 200));
    with_server(trial, |server| {
        let crowd = Crowd { port: server.port, spin: &spin, spinners: trial.parameter(), warm_up };
        timestop::Config::new().workers(1).run(|| crowd.ask())
    })
}

struct Crowd<'a> {
    port: u16,
    /// The path that computes.
    spin: &'a str,
    spinners: usize,
    warm_up: Duration,
}

/// A request of one of the others.
struct Answered {
    at: Instant,
    took: Duration,
}

impl Crowd<'_> {
    fn ask(self) -> Result<Measured, String> {
        let connect = |count| -> Result<Vec<Client>, String> {
            (0..count).map(|_| Client::connect(self.port).map_err(told)).collect()
        };
        // All before anybody asks: who cannot connect must not leave others asking for ever.
        let (others, mut spinners) = (connect(OTHERS)?, connect(self.spinners)?);
        let over = &AtomicBool::new(false);
        timestop::scope(|scope| {
            let others: Vec<_> = others
                .into_iter()
                .map(|client| scope.spawn(move || ask_again_and_again(client, over)))
                .collect();
            thread::sleep(self.warm_up);
            let begin = Instant::now();
            let spinners: Vec<_> =
                spinners.iter_mut().map(|client| scope.spawn(|| client.get(self.spin))).collect();
            let spun = spinners.into_iter().map(joined).collect::<Result<Vec<_>, _>>();
            let end = Instant::now();
            over.store(true, Ordering::Relaxed);
            let answers = others.into_iter().map(joined).collect::<Result<Vec<_>, _>>();
            spun.and(answers).and_then(|answers| measured(&answers, begin, end))
        })
    }
}

/// Until it is over, and what it had asked for by then is answered.
fn ask_again_and_again(mut client: Client, over: &AtomicBool) -> io::Result<Vec<Answered>> {
    let mut answers = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let took = client.get("/")?;
        answers.push(Answered { at: Instant::now(), took });
        thread::sleep(PAUSE);
    }
    Ok(answers)
}

/// Of requests that were under way between `begin` and `end`: who was held up across either counts in full.
fn measured(all: &[Vec<Answered>], begin: Instant, end: Instant) -> Result<Measured, String> {
    let mut lateness = Lateness::of_every(PAUSE);
    let mut unanswered = 0;
    for answers in all {
        let since = answers.iter().filter(|answer| answer.at >= begin);
        unanswered += usize::from(since.clone().all(|answer| answer.at > end));
        since.for_each(|answer| lateness.record(answer.took));
    }
    let spun = (end - begin).as_secs_f64() * 1e3;
    Ok(lateness.measured()?.with("unanswered", unanswered as f64).with("spun_ms", spun))
}

fn joined<T>(handle: timestop::ScopedJoinHandle<'_, io::Result<T>>) -> Result<T, String> {
    handle.join().map_err(|_| "a client panicked".to_owned())?.map_err(told)
}

fn told(error: io::Error) -> String {
    format!("a client: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_held_up_all_the_while_got_no_answer_and_counts_in_full() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let answer = |ms, took| Answered { at: at(ms), took: Duration::from_millis(took) };
        let prompt = vec![answer(50, 1), answer(150, 1), answer(160, 1)];
        let held_up = vec![answer(50, 1), answer(1_000, 900)];
        let told = measured(&[prompt, held_up], at(100), at(900)).expect("answers");
        assert_eq!(told.numbers["unanswered"], 1.0);
        assert_eq!(told.numbers["spun_ms"], 800.0);
        // What was answered before it began does not count.
        assert_eq!(told.numbers["events"], 3.0);
        assert!(told.numbers["max"] >= 900.0);
    }
}
