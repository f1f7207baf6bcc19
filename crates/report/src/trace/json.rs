//! Events as lines of Chrome's trace event format, without allocating: the program's memory may be
//! locked by a fiber that does not run.
//!
//! A file is a list whose end is missing until the trace has ended; the viewers take it without. Two
//! "processes" a process: its workers (and OS threads that have lost theirs), each a track with the
//! fibers that ran there, and its fibers, each a track with what it did. Times are microseconds of
//! `CLOCK_MONOTONIC`, with three decimals.

use timestop_runtime::trace::{Event, Left, Place};
use timestop_runtime::{Name, sys};

use crate::plain::Text;

/// More than the lines of one event can take.
pub(super) const LONGEST: usize = 2 * 1024;
/// What is added to the process's number for its fibers: above every number that the kernel gives.
const FIBERS: u64 = 1 << 30;
/// OS threads that are known to have a name in the trace.
const THREADS: usize = 64;

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct Lines {
    out: Text,
    process: u64,
    /// Arrows so far.
    arrows: u64,
    threads: [u32; THREADS],
    next_thread: usize,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { out: Text::new(), process: 0, arrows: 0, threads: [0; THREADS], next_thread: 0 }
    }

    /// Whether there is room for one more event.
    pub(super) fn has_room(&self) -> bool {
        self.out.room() >= LONGEST
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.out.bytes()
    }

    pub(super) fn clear(&mut self) {
        self.out.clear();
    }

    /// The start of the file: who this is.
    pub(super) fn open(&mut self, process: u32, name: &[u8], workers: usize) {
        self.out.clear();
        (self.arrows, self.threads) = (0, [0; THREADS]);
        self.process = u64::from(process);
        self.out.text("[\n");
        for (of, what, order) in [(0, " (workers)", 0), (FIBERS, " (fibers)", 1)] {
            self.out.begin("M", self.process + of, 0).text(",\"name\":\"process_name\",");
            self.out.text("\"args\":{\"name\":\"").escaped(name).text(what).text("\"}},\n");
            self.out.begin("M", self.process + of, 0).text(",\"name\":\"process_sort_index\",");
            self.out.text("\"args\":{\"sort_index\":").number(order).text("}},\n");
        }
        for worker in 0..workers as u64 {
            self.name_track("worker ", worker, worker + 1);
        }
    }

    fn name_track(&mut self, what: &str, number: u64, track: u64) {
        self.out.begin("M", self.process, track).text(",\"name\":\"thread_name\",");
        self.out.text("\"args\":{\"name\":\"").text(what).number(number).text("\"}},\n");
    }

    /// The track of a place. 0 where there is none.
    fn track(&mut self, place: Place, thread: u32) -> u64 {
        match place {
            Place::Worker(index) => u64::from(index) + 1,
            Place::Thread => {
                if thread != 0 && !self.threads.contains(&thread) {
                    self.threads[self.next_thread] = thread;
                    self.next_thread = (self.next_thread + 1) % THREADS;
                    self.name_track("without a worker: OS thread ", thread.into(), thread.into());
                }
                thread.into()
            }
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        let fibers = self.process + FIBERS;
        match *event {
            Event::Run { place, thread, fiber, ref name, from, until, left, reason } => {
                let track = self.track(place, thread);
                self.out.begin("X", self.process, track).lasting(from, until);
                self.out.text(",\"name\":\"").who(name, fiber).text("\",\"args\":{\"left\":\"");
                match left {
                    Left::Waits => self.out.what(reason),
                    other => self.out.text(describe(other)),
                };
                self.out.text("\",\"fiber\":").number(fiber);
                self.out.text(",\"thread\":").number(thread.into()).text("}},\n");
                if !matches!(left, Left::Waits | Left::Yielded | Left::Ended | Left::Runs) {
                    self.out
                        .begin("i", self.process, track)
                        .at(until)
                        .text(",\"s\":\"t\",\"name\":\"");
                    self.out.text(describe(left)).text("\"},\n");
                }
                self.out.begin("X", fibers, fiber).lasting(from, until);
                self.out.text(",\"name\":\"runs\"},\n");
            }
            Event::Resumed {
                place,
                fiber,
                left_at,
                left,
                reason,
                woken_at,
                waker,
                waker_place,
                at,
            } => {
                let runnable = if woken_at == 0 { at } else { woken_at };
                if left_at != 0 && left == Left::Waits {
                    self.out.begin("X", fibers, fiber).lasting(left_at, runnable);
                    self.out.text(",\"name\":\"").what(reason).text("\"},\n");
                }
                if runnable < at {
                    self.out.begin("X", fibers, fiber).lasting(runnable, at);
                    self.out.text(",\"name\":\"queued\"},\n");
                }
                if waker != 0 && woken_at != 0 {
                    let tracks = (self.track(waker_place, 0), self.track(place, 0));
                    self.arrow(tracks, (woken_at, at));
                }
            }
            Event::Named { fiber, ref name, .. } => self.name_fiber(fiber, name),
        }
    }

    fn arrow(&mut self, (from, to): (u64, u64), (woken_at, at): (u64, u64)) {
        if from == 0 || to == 0 {
            return; // an OS thread of the program's
        }
        self.arrows += 1;
        for (kind, track, time) in [("s", from, woken_at), ("f", to, at)] {
            let arrow = self.arrows;
            self.out.begin(kind, self.process, track).at(time).text(",\"id\":").number(arrow);
            let end = if kind == "f" { ",\"bp\":\"e\"" } else { "" };
            self.out.text(end).text(",\"cat\":\"wake\",\"name\":\"wakes\"},\n");
        }
    }

    pub(super) fn name_fiber(&mut self, fiber: u64, name: &Name) {
        self.out.begin("M", self.process + FIBERS, fiber).text(",\"name\":\"thread_name\",");
        self.out.text("\"args\":{\"name\":\"").escaped(name.bytes()).text("\"}},\n");
    }

    /// How many of something there are from now on.
    pub(super) fn counter(&mut self, what: &str, count: u64) {
        self.out.begin("C", self.process, 0).at(sys::now()).text(",\"name\":\"").text(what);
        self.out.text("\",\"args\":{\"").text(what).text("\":").number(count).text("}},\n");
    }

    /// So many events are missing.
    pub(super) fn lost(&mut self, count: u64) {
        self.mark(count, " events lost");
        self.out.text(",\n");
    }

    fn mark(&mut self, count: u64, what: &str) {
        self.out.begin("i", self.process, 1).at(sys::now()).text(",\"s\":\"g\",\"name\":\"");
        self.out.number(count).text(what).text("\"}");
    }

    /// The end of the file.
    pub(super) fn close(&mut self, lost: u64) {
        self.mark(lost, " events lost in all, end of the trace");
        self.out.text("\n]\n");
    }
}

impl Text {
    /// The start of a line: kind and track.
    fn begin(&mut self, kind: &str, process: u64, track: u64) -> &mut Self {
        self.text("{\"ph\":\"").text(kind).text("\",\"pid\":").number(process);
        self.text(",\"tid\":").number(track)
    }

    fn at(&mut self, time: u64) -> &mut Self {
        self.text(",\"ts\":").microseconds(time)
    }

    fn lasting(&mut self, from: u64, until: u64) -> &mut Self {
        self.at(from).text(",\"dur\":").microseconds(until.saturating_sub(from))
    }
}

fn describe(left: Left) -> &'static str {
    match left {
        Left::Waits => "waits",
        Left::Yielded => "yielded",
        Left::SliceOver => "preempted: its slice is over",
        Left::MadeWay => "preempted: another was due",
        Left::Chance => "preempted by chance",
        Left::Ended => "ended",
        Left::HandedOff => "handed off: its OS thread is stuck",
        Left::Runs => "still runs",
    }
}

#[cfg(test)]
mod tests {
    use timestop_runtime::Reason;

    use super::*;

    /// The fullest event does not outgrow what [`Lines::has_room`] promises.
    #[test]
    fn the_longest_event_fits() {
        let mut lines = Box::new(Lines::new());
        lines.process = u64::from(u32::MAX);
        let before = lines.out.room();
        lines.event(&Event::Run {
            place: Place::Thread,
            thread: u32::MAX,
            fiber: u64::MAX,
            name: Name::empty(),
            from: u64::MAX,
            until: u64::MAX,
            left: Left::HandedOff,
            reason: (Reason::Futex, u64::MAX),
        });
        lines.event(&Event::Resumed {
            place: Place::Worker(9),
            fiber: u64::MAX,
            left_at: u64::MAX - 2,
            left: Left::Waits,
            reason: (Reason::Condition, u64::MAX),
            woken_at: u64::MAX - 1,
            waker: u64::MAX,
            waker_place: Place::Worker(8),
            at: u64::MAX,
        });
        let length = before - lines.out.room();
        assert!(length < LONGEST, "{length} bytes");
    }
}
