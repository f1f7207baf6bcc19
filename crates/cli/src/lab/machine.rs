//! What the lab asks of the kernel: cores, limits, and the accounts it keeps of processes.
//!
//! All of it by `rustix`, raw: none of these calls passes through a hook, so pinning a process does not pin a fiber.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The cores this process may use.
pub(crate) fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("a process may read its own affinity");
    (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect()
}

/// Confines this thread, and all it will start, to `cores`.
pub(crate) fn pin_to(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    sched_setaffinity(None, &set).expect("a process may narrow its own affinity");
}

/// As `pin_to`, on the first `count` cores there are (all, if there are fewer).
pub(crate) fn pin_to_first(count: NonZeroUsize) {
    let cores = cores();
    pin_to(&cores[..count.get().min(cores.len())]);
}

/// Has the calling OS thread's sleeps end when they are over, and not up to 50 µs later.
pub(crate) fn prompt_timers() {
    // Refused, sleeps are later.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Raises the soft limit of open descriptors to the hard one.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Not allowed, not needed: a bench that runs out of descriptors says so itself.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// How many descriptors a process may have open; none: as many as it likes.
pub(crate) fn most_descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// What there is for a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// That one process may have open.
    pub(crate) descriptors: usize,
    /// Bytes.
    pub(crate) memory: u64,
}

impl Room {
    /// Now. What the kernel does not tell is taken to be plenty: then the run itself will say.
    pub(crate) fn now() -> Self {
        let descriptors = most_descriptors().map_or(usize::MAX, |most| most as usize);
        Room { descriptors, memory: memory_available().unwrap_or(u64::MAX >> 1) }
    }
}

/// CPU time of this process, all its threads.
pub(crate) fn cpu_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

/// The OS thread that the caller is on, and the CPU time it has had so far.
pub(crate) fn this_thread() -> (u32, Duration) {
    (gettid().as_raw_pid().unsigned_abs(), time_of(ClockId::ThreadCPUTime))
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).expect("CPU time is not negative");
    let nanoseconds = u32::try_from(time.tv_nsec).expect("less than a second");
    Duration::new(seconds, nanoseconds)
}

/// CPU time of process `pid`, user and system, to the kernel's tick.
pub(crate) fn cpu_time_of(pid: u32) -> Result<Duration, String> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let ticks = parse_stat(&stat).ok_or_else(|| format!("{path}: unexpected format"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// CPU time of each OS thread of this process, by its number. Of one that runs just now, to the kernel's tick.
pub(crate) fn cpu_time_of_threads() -> Result<BTreeMap<u32, Duration>, String> {
    let told = |error: io::Error| format!("/proc/self/task: {error}");
    let mut times = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").map_err(told)? {
        let task = task.map_err(told)?;
        let id = task.file_name().to_string_lossy().parse().map_err(|_| "/proc/self/task: a name");
        // Nanoseconds on a core come first. A thread that has ended meanwhile has no account any more.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
        let nanoseconds = nanoseconds.ok_or("/proc/self/task/…/schedstat: unexpected format")?;
        times.insert(id?, Duration::from_nanos(nanoseconds));
    }
    match times.is_empty() {
        true => Err("/proc/self/task/…/schedstat: this kernel keeps no such account".to_owned()),
        false => Ok(times),
    }
}

/// `utime + stime`, which are the fields 14 and 15. The second, the name, may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Bytes that the machine could give to a new process without swapping.
pub(crate) fn memory_available() -> Result<u64, String> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let kibibytes = parse_status(&text, "MemAvailable");
    kibibytes.map(|size| size * 1024).ok_or_else(|| format!("{path}: no MemAvailable"))
}

/// A number of `/proc/PID/status`, in the unit it is given in there (KiB for sizes). `pid` may be `self`.
pub(crate) fn status(pid: &str, field: &str) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    parse_status(&text, field).ok_or_else(|| format!("{path}: no {field}"))
}

fn parse_status(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let stat = "7 (a) S 1 (b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 1 0\n";
        assert_eq!(parse_stat(stat), Some(42));
    }

    #[test]
    fn a_field_is_not_taken_for_a_longer_one() {
        let text = "VmRSSX:\t 1 kB\nVmRSS:\t 52 kB\nThreads:\t3\n";
        assert_eq!(parse_status(text, "VmRSS"), Some(52));
        assert_eq!(parse_status(text, "Threads"), Some(3));
        assert_eq!(parse_status(text, "Vm"), None);
    }

    #[test]
    fn this_process_has_cores_and_an_account() {
        assert!(!cores().is_empty());
        assert!(cpu_time() > Duration::ZERO);
        cpu_time_of(std::process::id()).expect("our own account");
        let (id, time) = this_thread();
        assert!(time > Duration::ZERO);
        assert!(cpu_time_of_threads().expect("our own accounts").contains_key(&id));
        assert!(status("self", "Threads").expect("our own status") >= 1);
    }
}
