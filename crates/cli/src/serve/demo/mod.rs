//! The demonstration: a page, and the addresses it plays with.
//!
//! `hello`, `sleep`, `spin` and `block` do their work in the fiber of the connection, so that
//! `curl` shows as much as the page does. The page itself starts its sleepers and spinners by
//! `sleepers`, `spinners` and `blockers` instead: a browser opens six connections and no more, and
//! one that is busy spinning could not measure anything.

mod work;

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use timestop::{FiberInfo, FiberState};

use super::http::{Response, Status};

/// The page, its styles and scripts included.
pub(super) const PAGE: &str = include_str!("page.html");

const MAX_MILLISECONDS: u64 = 600_000;
pub(super) const MAX_LISTED: u64 = 10_000;

/// Fibers started by the page and not ended yet.
static STARTED: AtomicU64 = AtomicU64::new(0);
const MAX_STARTED: u64 = 1_000_000;

/// Many fibers started by one request.
struct Action {
    path: &'static str,
    name: &'static str,
    most: u64,
    work: fn(Duration),
}

const ACTIONS: [Action; 3] = [
    Action { path: "sleepers", name: "sleeper", most: 100_000, work: work::sleep },
    Action { path: "spinners", name: "spinner", most: 64, work: work::spin },
    Action { path: "blockers", name: "blocker", most: 64, work: work::block },
];

/// Whether `/demo/name` changes something, and so wants a POST.
pub(super) fn is_action(name: &str) -> bool {
    ACTIONS.iter().any(|action| action.path == name)
}

/// All it may load is itself, and what it asks of this server.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; script-src 'unsafe-inline'; \
                      style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

/// The page of the demonstration.
pub(super) fn page() -> Response {
    html(PAGE.as_bytes())
}

/// A page that needs nothing from outside. The two cross-origin policies give it finer clocks.
pub(super) fn html(page: impl Into<Cow<'static, [u8]>>) -> Response {
    Response::new(Status::OK, "text/html; charset=utf-8", page)
        .with("Cache-Control", "no-cache")
        .with("Content-Security-Policy", POLICY)
        .with("Cross-Origin-Opener-Policy", "same-origin")
        .with("Cross-Origin-Embedder-Policy", "require-corp")
}

/// Answers `/demo/name?query`.
pub(super) fn answer(name: &str, query: Option<&str>) -> Response {
    let query = Query { path: name, text: query.unwrap_or_default() };
    let answer = match name {
        "hello" => return hello(),
        "sleep" => work_here(&query, "slept", work::sleep),
        "spin" => work_here(&query, "computed", work::spin),
        "block" => work_here(&query, "was blocked", work::block),
        "fibers" => list(&query),
        "dump" => Ok(dump()),
        _ => match ACTIONS.iter().find(|action| action.path == name) {
            Some(action) => start(&query, action),
            None => return Response::plain(Status::NOT_FOUND, "not found"),
        },
    };
    answer.unwrap_or_else(|text| Response::plain(Status::BAD_REQUEST, &text))
}

fn hello() -> Response {
    Response::new(Status::OK, "text/plain; charset=utf-8", &b"hello, world\n"[..])
        .with("Cache-Control", "no-store")
}

/// What every fiber does, with its stack. The one that answers is among them.
fn dump() -> Response {
    let mut text = Vec::new();
    match timestop::dump_to(&mut text) {
        Ok(()) => Response::new(Status::OK, "text/plain; charset=utf-8", text)
            .with("Cache-Control", "no-store"),
        Err(error) => Response::plain(Status::UNAVAILABLE, &error.to_string()),
    }
}

fn work_here(query: &Query<'_>, did: &str, work: fn(Duration)) -> Result<Response, String> {
    let duration = query.duration()?;
    let start = Instant::now();
    work(duration);
    let text = format!("{did} for {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    Ok(Response::plain(Status::OK, &text).with("Cache-Control", "no-store"))
}

fn start(query: &Query<'_>, action: &'static Action) -> Result<Response, String> {
    let duration = query.duration()?;
    let count = query.number("n", Some(1), action.most)?;
    let mut started = 0;
    let stopped = (0..count).find_map(|_| {
        let error = start_one(action, duration).err();
        started += u64::from(error.is_none());
        error
    });
    Ok(match stopped {
        None => Response::new(
            Status::ACCEPTED,
            "application/json",
            json!({ "started": started }).to_string().into_bytes(),
        ),
        Some(error) => Response::plain(
            Status::UNAVAILABLE,
            &format!("started {started} of {count} fibers, then failed: {error}"),
        ),
    })
}

fn start_one(action: &'static Action, duration: Duration) -> Result<(), String> {
    let counted = Counted::new().ok_or_else(|| format!("{MAX_STARTED} are running already"))?;
    let body = move || {
        (action.work)(duration);
        drop(counted);
    };
    let builder = timestop::Builder::new().name(action.name.to_owned());
    builder.spawn(body).map(drop).map_err(|error| error.to_string())
}

/// One of the [`STARTED`]; relaxed, since the number guards nothing but itself.
struct Counted;

impl Counted {
    fn new() -> Option<Self> {
        STARTED
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < MAX_STARTED).then_some(count + 1)
            })
            .is_ok()
            .then_some(Self)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        STARTED.fetch_sub(1, Ordering::Relaxed);
    }
}

fn list(query: &Query<'_>) -> Result<Response, String> {
    let limit = query.number("limit", Some(100), MAX_LISTED)?;
    let stats = timestop::stats();
    let fibers = timestop::fibers(usize::try_from(limit).unwrap_or(usize::MAX));
    let list = json!({
        "stats": {
            "workers": stats.workers,
            "os_threads": stats.os_threads,
            "fibers": stats.fibers,
            "spawned": stats.spawned,
            "switches": stats.switches,
            "steals": stats.steals,
            "hand_offs": stats.hand_offs,
            "polls": stats.polls,
        },
        "fibers": fibers.iter().map(describe).collect::<Vec<_>>(),
    });
    Ok(Response::new(Status::OK, "application/json", list.to_string().into_bytes())
        .with("Cache-Control", "no-store"))
}

fn describe(fiber: &FiberInfo) -> serde_json::Value {
    let state = match fiber.state {
        FiberState::Queued => "queued",
        FiberState::Running => "running",
        FiberState::Waiting => "waiting",
        _ => "other",
    };
    json!({
        "id": fiber.id,
        "name": fiber.name,
        "state": state,
        "waiting_for": fiber.waiting_for,
        "ms": (fiber.since.as_secs_f64() * 1e4).round() / 10.0,
        "cpu_ms": (fiber.cpu.as_secs_f64() * 1e4).round() / 10.0,
    })
}

/// The query of a request to `/demo/path`.
pub(super) struct Query<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

impl Query<'_> {
    fn duration(&self) -> Result<Duration, String> {
        self.number("ms", None, MAX_MILLISECONDS).map(Duration::from_millis)
    }

    /// The number called `name`, not above `most`. Names nobody asks for are passed over.
    pub(super) fn number(
        &self,
        name: &str,
        default: Option<u64>,
        most: u64,
    ) -> Result<u64, String> {
        let mut values = self
            .text
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(key, _)| *key == name);
        let problem = match (values.next(), values.next()) {
            (None, _) => match default {
                Some(number) => return Ok(number),
                None => format!("{name} is missing"),
            },
            (Some(_), Some(_)) => format!("{name} is given twice"),
            (Some((_, value)), None) => match value.parse::<u64>() {
                Ok(number) if number <= most => return Ok(number),
                _ => format!("{name} must be a whole number from 0 to {most}"),
            },
        };
        Err(format!("{problem}, e.g. /demo/{}?{name}=100", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn numbers_of_a_query() {
        let number = |text| {
            Query { path: "sleep", text }
                .number("ms", None, 1000)
                .map_err(|text| text.contains("?ms="))
        };
        assert_eq!(number("ms=0"), Ok(0));
        assert_eq!(number("a=b&ms=1000&c"), Ok(1000));
        for wrong in
            ["", "ms", "ms=", "ms=1001", "ms=-1", "ms=1.5", "ms=1&ms=1", "ms=99999999999999999999"]
        {
            assert_eq!(number(wrong), Err(true), "{wrong}");
        }
    }
}
