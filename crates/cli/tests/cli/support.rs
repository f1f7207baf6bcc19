//! Building the programs of `tests/programs` and `tests/conformance`, and running one with a deadline.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a program may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(180);

/// Where `dlopen` is before glibc 2.34.
const LIBRARY: &str = "-ldl";

/// `timestop run`, to which a program and its arguments are still to be added.
pub(crate) fn timestop_run() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_timestop"));
    command.arg("run");
    command
}

/// A program and its arguments.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Where it was built, for as long as it is needed.
    _directory: Option<TempDir>,
}

impl Program {
    /// A program of `tests/programs` in C, built with the system's compiler.
    pub(crate) fn c(name: &str) -> Self {
        Self::c_with(name, &[])
    }

    /// The same, built with `flags` too.
    pub(crate) fn c_with(name: &str, flags: &[&str]) -> Self {
        Self::c_file(&source(&format!("programs/{name}.c")), flags)
    }

    fn c_file(source: &Path, flags: &[&str]) -> Self {
        let flags: Vec<&str> =
            ["-std=c11", "-Wall", "-Wextra"].iter().chain(flags).copied().collect();
        Self::compile("cc", &flags, |cc| cc.arg(source).arg(LIBRARY).spawn())
    }

    /// A program of `tests/programs` in C++, built with the system's compiler.
    pub(crate) fn cpp(name: &str) -> Self {
        let source = source(&format!("programs/{name}.cpp"));
        Self::compile("c++", &["-std=c++17", "-Wall", "-Wextra"], |cc| {
            cc.arg(source).arg(LIBRARY).spawn()
        })
    }

    /// As [`c_text`](Self::c_text), but a shared object.
    pub(crate) fn c_library(text: &str) -> Self {
        Self::c_text(text, &["-shared", "-fPIC"])
    }

    /// A small program in C that is given as text, built with `flags`.
    pub(crate) fn c_text(text: &str, flags: &[&str]) -> Self {
        use std::io::Write;
        let flags: Vec<_> = ["-std=c11"].iter().chain(flags).copied().collect();
        Self::compile("cc", &flags, |compiler| {
            let mut child =
                compiler.args(["-x", "c", "-", LIBRARY]).stdin(Stdio::piped()).spawn()?;
            child.stdin.take().expect("piped").write_all(text.as_bytes())?;
            Ok(child)
        })
    }

    /// A library for nsswitch of `tests/programs` in C, as `libnss_timestop.so.2` in a directory.
    pub(crate) fn nss_module() -> TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o"])
            .arg(directory.path().join("libnss_timestop.so.2"))
            .arg(source("programs/nss_module.c"))
            .status()
            .expect("cc starts");
        assert!(built.success(), "cc fails");
        directory
    }

    fn compile(
        compiler: &str,
        flags: &[&str],
        start: impl FnOnce(&mut Command) -> std::io::Result<Child>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("program");
        let mut command = Command::new(compiler);
        command.args(["-O1", "-pthread", "-o"]).arg(&path).args(flags);
        let mut child = start(&mut command).unwrap_or_else(|error| {
            panic!("{compiler}: {error}; install it first: apt-get install gcc g++ libc6-dev")
        });
        assert!(child.wait().expect("our child").success(), "{compiler} fails");
        Self { path, arguments: Vec::new(), _directory: Some(directory) }
    }

    /// A program of `tests/programs` in Python.
    pub(crate) fn python(name: &str, arguments: &[&str]) -> Self {
        Self::python_file(&source(&format!("programs/{name}.py")), arguments)
    }

    fn python_file(script: &Path, arguments: &[&str]) -> Self {
        // `python3` may be a script that finds the interpreter: that one knows itself.
        let output =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let output = output.unwrap_or_else(|error| {
            panic!("python3: {error}; install it first: apt-get install python3")
        });
        let path = String::from_utf8(output.stdout).expect("a path of text");
        let script = script.to_str().expect("a path of text").to_owned();
        let arguments =
            [script].into_iter().chain(arguments.iter().map(|&argument| argument.into()));
        Self { path: path.trim().into(), arguments: arguments.collect(), _directory: None }
    }

    /// A program of `tests/programs` in Rust: a crate of its own.
    pub(crate) fn rust(name: &str) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--manifest-path"])
            .arg(source(&format!("programs/{name}")).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .status()
            .expect("cargo starts");
        assert!(status.success(), "cargo build: {status}");
        Self { path: target.join("release").join(name), arguments: Vec::new(), _directory: None }
    }

    /// Every program of `tests/conformance`: where it is, the program, and what it is to print.
    pub(crate) fn conformance() -> impl Iterator<Item = (PathBuf, Self, String)> {
        let files = source("conformance").read_dir().expect("the repository has it");
        let mut files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
        files.sort();
        files.into_iter().filter_map(|path| {
            let program = match path.extension()?.to_str()? {
                "c" => Self::c_file(&path, &[]),
                "py" => Self::python_file(&path, &[]),
                _ => return None,
            };
            let expected = path.with_extension("out");
            let expected = std::fs::read_to_string(&expected)
                .unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
            Some((path, program, expected))
        })
    }

    /// Runs it as it is.
    pub(crate) fn plain(&self) -> Output {
        output(Command::new(&self.path).args(&self.arguments))
    }

    /// Runs it on fibers.
    pub(crate) fn on_fibers(&self) -> Output {
        self.on_fibers_with(&[])
    }

    /// Runs it on fibers, with more in its environment.
    pub(crate) fn on_fibers_with(&self, environment: &[(&str, &str)]) -> Output {
        let environment = environment.iter().copied();
        output(timestop_run().arg(&self.path).args(&self.arguments).envs(environment))
    }

    /// The command that runs it on fibers, with options of `timestop run`.
    pub(crate) fn run_with(&self, options: &[&str]) -> Command {
        let mut command = timestop_run();
        command.args(options).arg(&self.path).args(&self.arguments);
        command
    }

    /// Fails unless it passes on plain threads: only then is it worth anything as a test of fibers.
    pub(crate) fn passes_plainly(&self) {
        let plain = self.plain();
        assert!(plain.status.success(), "{}\n{}", plain.status, text(&plain.stderr));
        assert!(text(&plain.stdout).contains("PASS"), "{}", text(&plain.stdout));
    }

    /// Fails unless it ends and prints on fibers, with more in its environment, as it does on threads.
    pub(crate) fn is_the_same_on_fibers(&self, environment: &[(&str, &str)]) {
        let plain = self.plain();
        let fibers = self.on_fibers_with(environment);
        let [stdout, stderr] = [&fibers.stdout, &fibers.stderr].map(|bytes| text(bytes));
        assert_eq!(fibers.status, plain.status, "{environment:?}\n{stdout}\n{stderr}");
        assert_eq!(stdout, text(&plain.stdout), "{environment:?}\n{stderr}");
    }
}

pub(crate) fn source(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    tests.canonicalize().expect("the repository has it").join(name)
}

/// The output of `command`, whose stdin is empty. One that takes longer than [`DEADLINE`] is killed, and the test fails.
pub(crate) fn output(command: &mut Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    output_of(child, command)
}

/// As [`output`], for a child that was started already.
pub(crate) fn output_of(child: Child, command: &Command) -> Output {
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn(move || {
        // The receiver is gone if the deadline is past.
        let _ = sender.send(child.wait_with_output());
    });
    match receiver.recv_timeout(DEADLINE) {
        Ok(output) => {
            waiter.join().expect("it only waits");
            output.expect("our child")
        }
        Err(RecvTimeoutError::Timeout) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("{command:?} has not ended after {DEADLINE:?}");
        }
        Err(RecvTimeoutError::Disconnected) => unreachable!("it sends before it ends"),
    }
}

/// What a process printed, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
