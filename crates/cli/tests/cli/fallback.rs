//! Where fibers cannot run: each check at start is made to fail, and the program does the same on plain threads, after one
//! line that says what was expected and what was found; with `--strict` it does not run.

use timestop_fiber::fault::Fault;

use crate::support::{Program, output, text, timestop_run};

/// What the line is to say.
fn reason(fault: Fault) -> &'static str {
    match fault {
        Fault::Fsgsbase => "instructions that set the thread pointer",
        Fault::ShadowStacks => "expected no shadow stacks",
        Fault::Kernel => "expected Linux 5.11 or later (epoll_pwait2), found 5.4.0",
        Fault::Glibc => "expected glibc 2.31 or later, found 2.30",
        Fault::PthreadCreate => "expected libc's function pthread_create, found none",
        Fault::TlsStaticInfo => "expected libc's function _dl_get_tls_static_info, found none",
        Fault::CtypeInit => "expected libc's function __ctype_init, found none",
        Fault::TlsDestructors => "expected libc's function __call_tls_dtors, found none",
        Fault::Condition => "expected a word of a condition variable that holds its attributes",
        Fault::TemplateMemory => "expected memory for the template thread, found out of memory",
        Fault::TemplateThread => "expected a thread for the template, found Resource temporarily",
        Fault::Header => "expected a thread header of 704 to 8192 bytes, found 64 bytes",
        Fault::StaticTls => "expected static TLS within what glibc reserves, found ",
        Fault::ThreadId => "expected the thread id once in the thread header, found at offsets",
        Fault::MallocWords => {
            "expected two thread-local words of libc's malloc (cache, arena), found words at"
        }
        Fault::StackMemory => "expected memory for a stack, found out of memory",
        Fault::ThreadLocals => "expected a fiber's own thread-locals, found another's",
        Fault::PthreadSelf => "expected pthread_self() to be the thread pointer, found another",
        Fault::Errno => "expected an errno for each fiber, found one shared",
        Fault::Malloc => "expected malloc to work in a fiber, found a null pointer",
        Fault::Epoll => {
            "no descriptor for epoll (Too many open files (os error 24)): see `ulimit -n`"
        }
        Fault::MainMemory => "no memory for a stack",
        Fault::Carrier => "no OS thread for a worker (Resource temporarily unavailable",
        Fault::Monitor => "no OS thread for the monitor (Resource temporarily unavailable",
        Fault::Starter => "no OS thread for the starter (Resource temporarily unavailable",
    }
}

/// Fails unless the program does with this fault what it does on plain threads, and says so.
fn falls_back(program: &Program, plain: &str, fault: Fault) {
    // Two workers: one of them needs an OS thread that is not main's.
    let environment = [("TIMESTOP_FAULT", fault.name()), ("TIMESTOP_WORKERS", "2")];
    let fibers = program.on_fibers_with(&environment);
    let [stdout, stderr] = [&fibers.stdout, &fibers.stderr].map(|bytes| text(bytes));
    assert!(fibers.status.success(), "{fault:?}: {}\n{stdout}\n{stderr}", fibers.status);
    assert_eq!(stdout, plain, "{fault:?}");
    // Python 3.12 and later warn of a fork.
    let ours = |line: &&str| line.starts_with("timestop: ");
    let lines: Vec<_> = stderr.lines().filter(ours).collect();
    assert_eq!(lines.len(), 1, "{fault:?}: {stderr}");
    assert!(lines[0].contains(reason(fault)), "{fault:?}: {stderr}");
    assert!(lines[0].ends_with("; running on plain threads"), "{fault:?}: {stderr}");

    let mut strict = timestop_run();
    strict.arg("--strict").arg(&program.path).args(&program.arguments).envs(environment);
    let strict = output(&mut strict);
    let stderr = text(&strict.stderr);
    assert_eq!(strict.status.code(), Some(125), "{fault:?}: {stderr}");
    assert!(
        stderr.contains(reason(fault)) && stderr.ends_with("; not running (--strict)\n"),
        "{fault:?}: {stderr}"
    );
    assert!(!text(&strict.stdout).contains("PASS"), "{fault:?}: it has made threads");
}

#[test]
fn every_fault_leaves_a_program_in_c_on_plain_threads() {
    let program = Program::c("threads");
    let plain = text(&program.plain().stdout);
    assert!(plain.contains("PASS"), "{plain}");
    // Most of it is waiting.
    std::thread::scope(|scope| {
        for faults in Fault::ALL.chunks(6) {
            let (program, plain) = (&program, &plain);
            scope.spawn(move || faults.iter().for_each(|fault| falls_back(program, plain, *fault)));
        }
    });
}

/// One of each kind: before the template, after it, in the first fiber, with descriptors, with threads.
#[test]
fn a_python_program_falls_back_too() {
    let program = Program::python("mix", &[]);
    let plain = text(&program.plain().stdout);
    for fault in [Fault::Kernel, Fault::MallocWords, Fault::Errno, Fault::Epoll, Fault::Starter] {
        falls_back(&program, &plain, fault);
    }
}

#[test]
fn a_fault_that_there_is_not_is_told() {
    let fibers = Program::c("c11").on_fibers_with(&[("TIMESTOP_FAULT", "dragons")]);
    let stderr = text(&fibers.stderr);
    assert!(fibers.status.success(), "{stderr}");
    assert!(stderr.contains("TIMESTOP_FAULT to be one of fsgsbase, "), "{stderr}");
    assert!(stderr.contains("found \"dragons\""), "{stderr}");
}
