//! Who else was there while a run ran: CPU time that other processes used, and that the machine below us did not give.
//!
//! The kernel's account of all cores, less ours and our children's. Whoever lost its parent counts as our child
//! (`adopt_orphans`), or a subject that leaves a process behind would look like somebody else.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{getpid, set_child_subreaper};

/// A run is disturbed by more than this part of a core.
const DISTURBED: f64 = 0.10;
/// And never by less than this: the accounts are kept in ticks of ten milliseconds.
const TICKS: Duration = Duration::from_millis(30);
/// Runs are noisy that lie further apart than this part of their median.
pub(super) const SPREAD: f64 = 0.20;

/// The accounts at one moment.
#[derive(Debug)]
pub(crate) struct Accounts {
    at: Instant,
    /// Of all cores, by anybody.
    busy: Duration,
    /// That another guest of the same machine had.
    stolen: Duration,
    /// By this process, and by those of its children that were waited for.
    own: Duration,
}

/// What others did during a run, in parts of a core.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Disturbance {
    pub(crate) others: f64,
    pub(crate) stolen: f64,
}

/// Makes processes children of this one that have lost their parent below it.
pub(crate) fn adopt_orphans() {
    // Refused, their CPU time is told as that of others.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Do runs lie too far apart to be called one number?
pub(crate) fn is_spread(median: f64, min: f64, max: f64) -> bool {
    max - min > SPREAD * median.abs()
}

impl Accounts {
    /// None where the kernel keeps no such account.
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let (busy, stolen) = parse(&stat)?;
        Some(Accounts { at: Instant::now(), busy, stolen, own: own() })
    }

    /// Since then.
    pub(crate) fn disturbance(&self) -> Disturbance {
        let Some(now) = Accounts::now() else { return Disturbance::default() };
        let own = now.own.saturating_sub(self.own);
        let others = now.busy.saturating_sub(self.busy).saturating_sub(own);
        let stolen = now.stolen.saturating_sub(self.stolen);
        let elapsed = (now.at - self.at).as_secs_f64();
        let part = |time: Duration| match time > TICKS {
            true => time.as_secs_f64() / elapsed,
            false => 0.0,
        };
        Disturbance { others: part(others), stolen: part(stolen) }
    }
}

impl Disturbance {
    /// The worse of two runs.
    pub(crate) fn or_worse(self, other: Self) -> Self {
        Disturbance { others: self.others.max(other.others), stolen: self.stolen.max(other.stolen) }
    }

    /// In words, if it is enough to doubt the numbers.
    pub(crate) fn words(self) -> Option<String> {
        let told = |part: f64, who: &str| {
            (part > DISTURBED)
                .then(|| format!("{who} {:.0} % of a core during a run", part * 100.0))
        };
        let words: Vec<_> = told(self.others, "other processes used")
            .into_iter()
            .chain(told(self.stolen, "other machines took"))
            .collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// Busy and stolen, from the line of all cores: user, nice, system, idle, iowait, irq, softirq, steal.
fn parse(stat: &str) -> Option<(Duration, Duration)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks = line.split_whitespace().map(|word| word.parse::<u64>().ok());
    let ticks: Vec<u64> = ticks.collect::<Option<_>>()?;
    let of = |fields: &[usize]| -> Option<Duration> {
        let sum: u64 = fields.iter().map(|&at| ticks.get(at)).sum::<Option<u64>>()?;
        let hertz = rustix::param::clock_ticks_per_second() as f64;
        Some(Duration::from_secs_f64(sum as f64 / hertz))
    };
    Some((of(&[0, 1, 2, 5, 6])?, of(&[7])?))
}

/// To the microsecond, which `/proc/self/stat` is not.
fn own() -> Duration {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].into_iter().map(used).sum()
}

fn used(who: libc::c_int) -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is room for one `rusage`, and ours alone.
    let status = unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
    assert_eq!(status, 0, "both kinds of account exist");
    // SAFETY: written by the call; before that it was all zeros, which is a value of it too.
    let usage = unsafe { usage.assume_init() };
    let time = |of: libc::timeval| {
        Duration::from_secs(of.tv_sec.unsigned_abs())
            + Duration::from_micros(of.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy_and_stolen_time_is_its_own() {
        let stat = "cpu  100 0 200 9999 9999 1 2 50 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let tick = Duration::from_secs_f64(1.0 / rustix::param::clock_ticks_per_second() as f64);
        assert_eq!(parse(stat), Some((tick * 303, tick * 50)));
        assert_eq!(parse("intr 1 2 3\n"), None);
        assert_eq!(parse("cpu  1 2\n"), None);
    }

    #[test]
    fn what_this_process_uses_is_its_own() {
        let before = own();
        let mut number = 1_u64;
        while own() - before < Duration::from_millis(20) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(Accounts::now().expect("Linux keeps it").own > before);
    }

    #[test]
    fn little_is_no_disturbance() {
        let words = |others, stolen| Disturbance { others, stolen }.words();
        assert_eq!(words(0.05, 0.05), None);
        assert_eq!(
            words(0.5, 0.0).as_deref(),
            Some("other processes used 50 % of a core during a run")
        );
        assert!(words(0.5, 0.5).is_some_and(|words| words.contains("other machines took")));
    }

    #[test]
    fn the_spread_is_told_in_parts_of_the_median() {
        assert!(!is_spread(100.0, 90.0, 110.0));
        assert!(is_spread(100.0, 89.0, 110.0));
    }
}
