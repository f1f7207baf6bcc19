//! Every fiber: what it does, since when, and where, as Go prints goroutines on SIGQUIT.
//!
//! Stacks are walked and compared as addresses; fibers that wait for the same kind of thing with the
//! same stack are one entry, and only its stack is made into names. So 100,000 fibers are a page.
//!
//! Not a snapshot of one moment: fibers run on meanwhile. One that is resumed while its stack is read
//! is looked at again, and shown without a stack if that fails too.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};

use timestop_runtime::{FiberRef, Reason, Snapshot, signal, snapshots, stats};

use crate::stack::{self, Blocked};
use crate::symbols::{Frame, Symbols};
use crate::trim::trim;
use crate::waiting::{self, Holders};
use crate::{text, unwind};

/// Ids, descriptors and locks that stand for a group.
const EXAMPLES: usize = 3;
/// Lines of one stack.
const LINES: usize = 24;

/// What a fiber is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Doing {
    Running,
    Queued,
    Waiting(u32),
}

/// An OS thread, and what it is blocked in.
type Thread = (u32, Option<Blocked>);

/// Fibers that do the same at the same place.
struct Group {
    doing: Doing,
    stack: Vec<usize>,
    members: Vec<Snapshot>,
    /// The OS thread of the first one, if it runs.
    thread: Option<Thread>,
}

/// Writes a dump of all fibers that have begun to run.
///
/// Cost: some microseconds a fiber, and reading the debug information of what is on their stacks.
/// Allocates, reads files, and takes the dynamic linker's lock.
///
/// # Errors
///
/// Those of `out`.
pub fn dump(out: &mut impl Write) -> io::Result<()> {
    unwind::prepare();
    let groups = collect();
    let holders = Holders::new();
    let mut symbols = Symbols::new();
    // Written at once: a dump that others write into is hard to read.
    let mut page = Vec::new();
    header(&mut page, &groups)?;
    for group in &groups {
        writeln!(page)?;
        title(&mut page, group, &holders)?;
        lines(&mut page, &group.stack, &mut symbols)?;
    }
    out.write_all(&page)?;
    out.flush()
}

/// Running ones first, then the large groups, then in order of age.
fn collect() -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<(Doing, Vec<usize>), usize> = HashMap::new();
    for snapshot in snapshots() {
        let (doing, stack, thread) = look(&snapshot);
        if doing == Doing::Running {
            groups.push(Group { doing, stack, members: vec![snapshot], thread });
            continue;
        }
        match known.entry((doing, stack)) {
            Entry::Occupied(place) => groups[*place.get()].members.push(snapshot),
            Entry::Vacant(place) => {
                let stack = place.key().1.clone();
                place.insert(groups.len());
                groups.push(Group { doing, stack, members: vec![snapshot], thread });
            }
        }
    }
    for group in &mut groups {
        group.members.sort_by_key(|member| member.id);
    }
    groups.sort_by_key(|group| {
        let is_running = group.doing == Doing::Running;
        (!is_running, std::cmp::Reverse(group.members.len()), group.members[0].id)
    });
    groups
}

fn look(snapshot: &Snapshot) -> (Doing, Vec<usize>, Option<Thread>) {
    let fiber = snapshot.fiber;
    if FiberRef::current() == Some(fiber) {
        return (Doing::Running, stack::of_caller(fiber), None);
    }
    if let Some(thread) = signal::running_thread(fiber) {
        let blocked = stack::blocked(thread);
        let stack = blocked.map(|blocked| stack::of_blocked(fiber, thread, blocked));
        return (Doing::Running, stack.unwrap_or_default(), Some((thread, blocked)));
    }
    let doing =
        if snapshot.parked { Doing::Waiting(snapshot.reason as u32) } else { Doing::Queued };
    (doing, stack::of_suspended(snapshot), None)
}

fn header(out: &mut impl Write, groups: &[Group]) -> io::Result<()> {
    let counters = stats();
    let count = |wanted: fn(Doing) -> bool| -> usize {
        let groups = groups.iter().filter(|group| wanted(group.doing));
        groups.map(|group| group.members.len()).sum()
    };
    let all = count(|_| true);
    write!(
        out,
        "timestop: {} fibers: {} running, {} queued, {} waiting",
        text::number(all),
        text::number(count(|doing| doing == Doing::Running)),
        text::number(count(|doing| doing == Doing::Queued)),
        text::number(count(|doing| matches!(doing, Doing::Waiting(_)))),
    )?;
    let fresh = usize::try_from(counters.fibers).unwrap_or(0).saturating_sub(all);
    if fresh > 0 {
        write!(out, "; {} have not begun", text::number(fresh))?;
    }
    writeln!(
        out,
        "\n{} workers, {} OS threads, {} spawned, {} switches, {} steals, {} hand-offs",
        counters.workers,
        counters.os_threads,
        text::number(counters.spawned as usize),
        text::number(counters.switches as usize),
        text::number(counters.steals as usize),
        text::number(counters.hand_offs as usize),
    )
}

fn title(out: &mut impl Write, group: &Group, holders: &Holders) -> io::Result<()> {
    match group.members.as_slice() {
        [one] => single(out, group, one, holders),
        members => several(out, group.doing, members, holders),
    }
}

fn single(
    out: &mut impl Write,
    group: &Group,
    one: &Snapshot,
    holders: &Holders,
) -> io::Result<()> {
    write!(out, "{}", who(one))?;
    match (group.doing, group.thread) {
        (Doing::Running, None) => write!(out, " [running: it has asked for this dump")?,
        (Doing::Running, Some((thread, blocked))) => match blocked {
            Some(blocked) => {
                let call = blocked.name().unwrap_or("a system call");
                write!(out, " [blocked in {call} on OS thread {thread}")?;
            }
            None => write!(out, " [running on OS thread {thread}")?,
        },
        (Doing::Queued, _) => write!(out, " [queued")?,
        (Doing::Waiting(_), _) => {
            let what = waiting::in_full(one, holders);
            write!(out, " [{what}, {}", text::duration(one.waited))?;
        }
    }
    if one.cpu > 0 {
        write!(out, ", cpu {}", text::duration(one.cpu))?;
    }
    out.write_all(b"]:\n")
}

/// `fiber 17 'name'`.
fn who(fiber: &Snapshot) -> String {
    match timestop_hooks::thread::name_of(fiber.fiber) {
        Some(name) => format!("fiber {} '{name}'", fiber.id),
        None => format!("fiber {}", fiber.id),
    }
}

fn several(
    out: &mut impl Write,
    doing: Doing,
    members: &[Snapshot],
    holders: &Holders,
) -> io::Result<()> {
    write!(out, "{} fibers", text::number(members.len()))?;
    let name = |member: &Snapshot| timestop_hooks::thread::name_of(member.fiber);
    if let Some(first) = name(&members[0])
        && members.iter().all(|member| name(member).as_ref() == Some(&first))
    {
        write!(out, " '{first}'")?;
    }
    write!(out, ", ids")?;
    for member in members.iter().take(EXAMPLES) {
        write!(out, " {}", member.id)?;
    }
    let dots = if members.len() > EXAMPLES { " …" } else { "" };
    write!(out, "{dots}, all: [")?;
    if let Doing::Waiting(_) = doing {
        let waits = || members.iter().map(|member| member.waited);
        let (least, most) = (waits().min().unwrap_or(0), waits().max().unwrap_or(0));
        let kind = waiting::kind(members[0].reason);
        write!(out, "{kind}, {}", text::durations(least, most))?;
    } else {
        write!(out, "queued")?;
    }
    let cpu: u64 = members.iter().map(|member| member.cpu).sum();
    if cpu > 0 {
        write!(out, ", cpu {} together", text::duration(cpu))?;
    }
    out.write_all(b"]:\n")?;
    if let Doing::Waiting(_) = doing {
        details(out, members, holders)?;
    }
    Ok(())
}

/// What the members of a group wait for: a few of the descriptors, the locks that most wait for.
fn details(out: &mut impl Write, members: &[Snapshot], holders: &Holders) -> io::Result<()> {
    let is_told = matches!(
        members[0].reason,
        Reason::Read
            | Reason::Write
            | Reason::Mutex
            | Reason::RwLock
            | Reason::Condition
            | Reason::Semaphore
            | Reason::Barrier
            | Reason::Futex
            | Reason::Join
            | Reason::Receive
            | Reason::Send
    );
    if !is_told {
        return Ok(());
    }
    let mut counts: HashMap<u64, (usize, &Snapshot)> = HashMap::new();
    for member in members {
        counts.entry(member.argument).or_insert((0, member)).0 += 1;
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_by_key(|(count, first)| (std::cmp::Reverse(*count), first.id));
    // Of locks that one fiber waits for only what can be said of them is worth a line.
    let is_alone = |count: &usize| *count == 1;
    if !matches!(members[0].reason, Reason::Read | Reason::Write | Reason::Mutex | Reason::Join) {
        counts.retain(|(count, _)| !is_alone(count));
    }
    for (count, first) in counts.iter().take(EXAMPLES) {
        let what = waiting::in_full(first, holders);
        if is_alone(count) {
            writeln!(out, "    {}: {what}", who(first))?;
        } else {
            writeln!(out, "    {} of them: {what}", text::number(*count))?;
        }
    }
    if counts.len() > EXAMPLES {
        writeln!(out, "    … and {} more", text::number(counts.len() - EXAMPLES))?;
    }
    Ok(())
}

fn lines(out: &mut impl Write, stack: &[usize], symbols: &mut Symbols) -> io::Result<()> {
    let frames: Vec<Frame> =
        stack.iter().flat_map(|address| symbols.resolve(*address).to_vec()).collect();
    let shown = trim(&frames);
    for frame in shown.iter().take(LINES) {
        writeln!(out, "    {frame}")?;
    }
    if shown.len() > LINES {
        writeln!(out, "    … and {} more", shown.len() - LINES)?;
    }
    Ok(())
}
