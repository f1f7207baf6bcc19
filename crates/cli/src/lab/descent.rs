//! A process and all that descend from it: a server may be one that only starts others and waits for them.
//!
//! By their parents, and not by process group: a server shares that of the run that started it.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// CPU time of `pid` and of all that descend from it, user and system, to the kernel's tick. What has ended counts as
/// long as its parent has waited for it and lives.
pub(crate) fn cpu_time_of(pid: u32) -> Result<Duration, String> {
    let processes = all()?;
    let missing = || format!("/proc/{pid}: no such process");
    let own = processes.get(&pid).ok_or_else(missing)?.ticks;
    let ticks = own + below(&processes, pid).map(|process| process.ticks).sum::<u64>();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// OS threads of `pid` and of all that descend from it.
pub(crate) fn threads_of(pid: u32) -> Result<u64, String> {
    let processes = all()?;
    let own = processes.get(&pid).ok_or_else(|| format!("/proc/{pid}: no such process"))?.threads;
    Ok(own + below(&processes, pid).map(|process| process.threads).sum::<u64>())
}

#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Its own and those of the children that it has waited for.
    ticks: u64,
    threads: u64,
}

fn all() -> Result<HashMap<u32, Process>, String> {
    let told = |error: std::io::Error| format!("/proc: {error}");
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").map_err(told)? {
        let entry = entry.map_err(told)?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        // One that has ended meanwhile is none of them any more.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let process = parse(&stat).ok_or_else(|| format!("/proc/{pid}/stat: unexpected format"))?;
        processes.insert(pid, process);
    }
    Ok(processes)
}

fn below(processes: &HashMap<u32, Process>, pid: u32) -> impl Iterator<Item = &Process> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(processes.iter().filter(|(_, it)| it.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).map(|pid| &processes[&pid])
}

/// The second field, the name, may hold spaces and parentheses.
fn parse(stat: &str) -> Option<Process> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Process { parent: u32::try_from(number(1)?).ok()?, ticks, threads: number(17)? })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_line_is_read_past_its_name() {
        let stat = "7 (a) S 1 (b) S 3 7 7 0 -1 0 0 0 0 0 30 12 5 1 20 0 4 0 100\n";
        assert_eq!(parse(stat), Some(Process { parent: 3, ticks: 48, threads: 4 }));
    }

    #[test]
    fn grandchildren_count_and_strangers_do_not() {
        let process = |parent| Process { parent, ticks: 1, threads: 1 };
        let processes =
            HashMap::from([(1, process(0)), (2, process(1)), (3, process(2)), (4, process(1))]);
        assert_eq!(below(&processes, 2).count(), 1);
        assert_eq!(below(&processes, 1).count(), 3);
        assert_eq!(below(&processes, 4).count(), 0);
    }

    #[test]
    fn the_threads_of_a_child_are_seen_while_it_lives() {
        let mut child = Command::new("sh")
            .args(["-c", "sh -c 'echo; read line'; :"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = [0];
        child.stdout.as_mut().expect("piped").read_exact(&mut line).expect("a line");
        assert_eq!(threads_of(child.id()), Ok(2));
        cpu_time_of(child.id()).expect("its account");
        drop(child.stdin.take());
        child.wait().expect("a child");
        assert!(threads_of(child.id()).is_err());
    }
}
