//! Private instances of real servers: started in a temporary directory, reached over a socket in it or a free loopback
//! port, killed when dropped. A missing server is a failure that names the package.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

const MISSING: &str = "install it first: apt-get install postgresql redis-server";
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server. Dropping it ends the process and removes its directory.
pub(crate) struct Server {
    process: Child,
    directory: TempDir,
    /// Where clients connect to: a URL, or the words that the client library wants.
    pub(crate) address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT is PostgreSQL's quick way out; it takes its own children along, as SIGKILL would not.
        let pid = Pid::from_child(&self.process);
        let _ = kill_process(pid, Signal::QUIT);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            thread::yield_now();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A PostgreSQL of our own that takes `connections` at once.
pub(crate) fn postgres(connections: usize) -> Server {
    let binaries = postgres_binaries();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let user = Unprivileged::find(directory.path());
    let data = directory.path().join("data");
    let initdb = user
        .command(&binaries.join("initdb"))
        .args([
            "--auth=trust",
            "--username=timestop",
            "--no-sync",
            "--no-locale",
            "--encoding=UTF8",
            "-D",
        ])
        .arg(&data)
        .output()
        .expect("initdb starts");
    assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));

    let socket = directory.path().to_str().expect("a temporary path is text").to_owned();
    let process = user
        .command(&binaries.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"])
        .args(["-c", &format!("unix_socket_directories={socket}")])
        .args(["-c", &format!("max_connections={}", connections + 10)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("postgres starts");
    let address = format!("host={socket} user=timestop dbname=postgres");
    let mut server = Server { process, directory, address };
    let log = server.process.stderr.take().expect("piped");
    wait_for_line(log, "database system is ready to accept connections").unwrap_or_else(|log| {
        panic!("PostgreSQL in {} did not start:\n{log}", server.directory.path().display())
    });
    server
}

/// A redis-server of our own.
pub(crate) fn redis() -> Server {
    // The port is free when we look and may be gone when redis takes it: then we try another.
    for _ in 0..10 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let process = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
                &port.to_string(),
            ])
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server: {error}; {MISSING}"));
        let mut server =
            Server { process, directory, address: format!("redis://127.0.0.1:{port}") };
        let log = server.process.stdout.take().expect("piped");
        match wait_for_line(log, "Ready to accept connections") {
            Ok(()) => return server,
            Err(log) => assert!(log.contains("Address already in use"), "redis-server:\n{log}"),
        }
    }
    panic!("ten free ports were taken before redis-server had them");
}

/// The newest of the installed PostgreSQL versions.
fn postgres_binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .map(|version| version.path().join("bin"))
        .filter(|binaries| binaries.join("initdb").exists() && binaries.join("postgres").exists())
        .max();
    newest.unwrap_or_else(|| panic!("no PostgreSQL in /usr/lib/postgresql/*/bin; {MISSING}"))
}

/// Who PostgreSQL runs as: it refuses to be root.
struct Unprivileged {
    user: Option<&'static str>,
}

impl Unprivileged {
    /// The current user, or `postgres` when that is root; `directory` becomes that user's.
    fn find(directory: &Path) -> Self {
        if !geteuid().is_root() {
            return Self { user: None };
        }
        let accounts = fs::read_to_string("/etc/passwd").expect("a system has accounts");
        let account = accounts.lines().find_map(|line| line.strip_prefix("postgres:"));
        let uid = account.and_then(|account| account.split(':').nth(1)?.parse().ok());
        let uid = uid.unwrap_or_else(|| panic!("there is no user postgres; {MISSING}"));
        chown(directory, Some(uid), None).expect("root may");
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(directory, private).expect("root may");
        Self { user: Some("postgres") }
    }

    /// `program` as that user, in the same process (no shell between that would be killed in its place).
    fn command(&self, program: &Path) -> Command {
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).arg(format!("--regid={user}"));
                command.args(["--init-groups", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir("/");
        command
    }
}

/// Reads `log` on a thread of its own, to its end so that the server is never held up. Returns as soon as a line
/// contains `text`; when none comes, returns what was read.
fn wait_for_line(log: impl Read + Send + 'static, text: &'static str) -> Result<(), String> {
    let (lines, all) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            // Nobody listens any more once the line has come.
            let _ = lines.send(line);
        }
    });
    let end = Instant::now() + DEADLINE;
    let mut read = String::new();
    loop {
        match all.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(text) => return Ok(()),
            Ok(line) => read = read + &line + "\n",
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("{read}no answer in {DEADLINE:?}"));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(read),
        }
    }
}
