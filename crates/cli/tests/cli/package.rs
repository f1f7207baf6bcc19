//! `package/build.py`: what it makes of these binaries is installed or unpacked where nothing is, and works there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::{output, source, text};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a command that succeeds prints.
fn done(command: &mut Command) -> String {
    let output = output(command);
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| text(bytes));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

/// The packages, built once: wheel, .deb, tarball.
fn packages() -> &'static [PathBuf; 3] {
    static BUILT: OnceLock<[PathBuf; 3]> = OnceLock::new();
    BUILT.get_or_init(|| {
        let build = source("../package/build.py").canonicalize().expect("the repository has it");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        let mut command = Command::new(build);
        command.args(["wheel", "deb", "tarball", "--program", env!("CARGO_BIN_EXE_timestop")]);
        let lines = done(command.arg("--output").arg(folder));
        let paths: Vec<PathBuf> = lines.lines().map(PathBuf::from).collect();
        paths.try_into().expect("a line a package")
    })
}

fn wheel() -> &'static Path {
    &packages()[0]
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name of text")
}

/// A virtual environment with the wheel in it and nothing else.
fn installed() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut python = Command::new("python3");
    done(python.args(["-m", "venv"]).arg(folder.path()));
    let mut pip = Command::new(folder.path().join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-index"]);
    done(pip.arg(wheel()));
    folder
}

fn server() -> PathBuf {
    source("programs/server1000.py")
}

/// Fails unless a server with a thread for each of 200 connections runs on fibers: on few OS threads.
fn serves(command: &mut Command) {
    let output = output(command.arg(server()).arg("200"));
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    assert_eq!(text(&output.stdout), "PASS 200 connections\n");
    let threads = stderr.lines().find_map(|line| line.strip_prefix("os threads "));
    let threads: usize = threads.and_then(|count| count.parse().ok()).expect("it says so");
    assert!(threads < 20, "{stderr}");
}

/// Fails unless a program, installed somewhere, does what it is installed for.
fn works(program: &Path) {
    assert_eq!(
        done(Command::new(program).arg("--version").current_dir("/")),
        format!("timestop {VERSION}\n")
    );
    serves(Command::new(program).args(["run", "python3"]).current_dir("/"));
}

#[test]
fn the_wheel_is_for_every_python_and_names_the_glibc_that_it_needs() {
    let tag = name(wheel()).strip_prefix(&format!("timestop-{VERSION}-py3-none-manylinux_2_"));
    let tag = tag.and_then(|rest| rest.strip_suffix("_x86_64.whl"));
    let named: u32 = tag.and_then(|minor| minor.parse().ok()).expect("a tag of that form");
    let folder = installed();
    let binaries = ["bin/timestop", "lib/timestop/libtimestop_preload.so"];
    let symbols =
        binaries.map(|file| done(Command::new("objdump").arg("-T").arg(folder.path().join(file))));
    let needed = symbols.iter().flat_map(|symbols| symbols.split("GLIBC_2.").skip(1));
    let minor = |rest: &str| rest.split(|byte: char| !byte.is_ascii_digit()).next()?.parse().ok();
    assert_eq!(needed.filter_map(minor).max(), Some(named));
}

#[test]
fn the_wheel_puts_the_program_on_the_path_of_a_virtual_environment() {
    let folder = installed();
    let bin = folder.path().join("bin");
    works(&bin.join("timestop"));
    // As console scripts are: found in PATH, run by the environment's own Python.
    let script = bin.join("serves");
    let text = format!("#!{}\nimport runpy, sys\nsys.argv.pop(0)\n", bin.join("python").display());
    let text = text + "runpy.run_path(sys.argv[0], run_name='__main__')\n";
    std::fs::write(&script, text).expect("writable");
    done(Command::new("chmod").arg("+x").arg(&script));
    let path = std::env::var("PATH").expect("text");
    let path = format!("{}:{path}", bin.display());
    serves(
        Command::new("sh").args(["-c", "exec timestop run serves \"$@\"", "sh"]).env("PATH", path),
    );
    let mut pip = Command::new(bin.join("pip"));
    done(pip.args(["uninstall", "--quiet", "--yes", "timestop"]));
    for file in ["bin/timestop", "lib/timestop"] {
        assert!(!folder.path().join(file).exists(), "{file} is left");
    }
}

#[test]
fn python_m_timestop_is_python_on_fibers() {
    let folder = installed();
    let python = |options: &[&str]| {
        let mut command = Command::new(folder.path().join("bin/python"));
        command.args(options).args(["-m", "timestop"]).current_dir(folder.path());
        command
    };
    serves(&mut python(&[]));
    serves(python(&[]).args(["--workers=2", "--strict"]));

    let shows = "import sys, os; print(sys.argv[1:], sys.flags.dev_mode, sys.flags.isolated, \
                 os.path.dirname(sys.executable) == sys.prefix + '/bin', \
                 'timestop_preload' in os.environ['LD_PRELOAD'])";
    std::fs::write(folder.path().join("shows.py"), shows).expect("writable");
    for how in [&["shows.py"][..], &["-m", "shows"], &["-c", shows]] {
        let told = done(python(&[]).args(how).args(["-x", "--two words", "--", ""]));
        assert_eq!(told, "['-x', '--two words', '--', ''] False 0 True True\n", "{how:?}");
    }
    // Options of Python's, for the first one and for the second.
    let told = done(python(&["-X", "dev"]).args(["-I", "-c", shows]));
    assert_eq!(told, "[] True 1 True True\n");
    let status = output(python(&[]).args(["-c", "raise SystemExit(42)"])).status;
    assert_eq!(status.code(), Some(42));
    let unknown = output(python(&[]).args(["--no-such-option", "shows.py"]));
    assert!(text(&unknown.stderr).contains("--no-such-option"), "{}", text(&unknown.stderr));
    assert!(!unknown.status.success());
}

#[test]
fn the_debian_package_holds_a_tree_that_works() {
    let [wheel, deb, _] = packages();
    assert_eq!(name(deb), format!("timestop_{VERSION}-1_amd64.deb"));
    let folder = tempfile::tempdir().expect("a temporary directory");
    done(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(folder.path()));
    works(&folder.path().join("usr/bin/timestop"));

    let field = |field| done(Command::new("dpkg-deb").arg("--field").arg(deb).arg(field));
    assert_eq!(field("Version").trim(), format!("{VERSION}-1"));
    let depends = field("Depends");
    let glibc = depends.strip_prefix("libc6 (>= ").and_then(|rest| rest.split_once(')'));
    let (glibc, rest) = glibc.expect("libc first");
    assert!(name(wheel).contains(&format!("_{}_x86", glibc.replace('.', "_"))), "{depends}");
    assert!(rest.starts_with(", libgcc-s1 (>= "), "{depends}");

    for line in done(Command::new("dpkg-deb").arg("--contents").arg(deb)).lines() {
        let mode = line.get(..10).expect("a mode");
        assert!(["drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"].contains(&mode), "{line}");
        assert!(line.contains(" root/root "), "{line}");
    }
    let sums = folder.path().join("sums");
    let mut control = Command::new("dpkg-deb");
    done(control.arg("--control").arg(deb).arg(&sums));
    let mut md5sum = Command::new("md5sum");
    md5sum.args(["--check", "--strict", "--quiet", "sums/md5sums"]);
    assert_eq!(done(md5sum.current_dir(folder.path())), "");

    let share = folder.path().join("usr/share");
    let rights = std::fs::read_to_string(share.join("doc/timestop/copyright")).expect("it has one");
    for part in ["Copyright (c) 2026 The timestop contributors", "\n  clap ", "\n  syscalls "] {
        assert!(rights.contains(part), "{part}: {rights}");
    }
    let page = done(Command::new("zcat").arg(share.join("man/man1/timestop-run.1.gz")));
    assert!(page.contains("\\-\\-workers"), "{page}");
}

#[test]
fn the_tarball_works_wherever_it_is_unpacked() {
    let [_, _, tarball] = packages();
    let folder = format!("timestop-{VERSION}-x86_64-linux-gnu");
    assert_eq!(name(tarball), format!("{folder}.tar.gz"));
    let place = tempfile::tempdir().expect("a temporary directory");
    done(Command::new("tar").arg("xzf").arg(tarball).current_dir(place.path()));
    let elsewhere = place.path().join("elsewhere");
    std::fs::rename(place.path().join(folder), &elsewhere).expect("it holds one folder");
    works(&elsewhere.join("bin/timestop"));
    // By a link, as in a folder that is in PATH.
    let link = place.path().join("timestop");
    std::os::unix::fs::symlink(elsewhere.join("bin/timestop"), &link).expect("a new name");
    serves(Command::new(&link).args(["run", "python3"]));

    std::fs::remove_file(elsewhere.join("lib/timestop/libtimestop_preload.so"))
        .expect("it is there");
    let refused = output(Command::new(&link).args(["run", "true"]));
    let told = text(&refused.stderr);
    assert!(told.contains("libtimestop_preload.so") && told.contains("install both"), "{told}");
    assert_eq!(refused.status.code(), Some(126));
}
