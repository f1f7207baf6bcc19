//! `timestop check`: what can work, what cannot, and why; and that `timestop run` refuses for the same reasons.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use rustix::fs::{Gid, Uid, XattrFlags, chown, setxattr};
use tempfile::TempDir;

use crate::support::{Program, output, text, timestop_run};

fn check(program: impl AsRef<Path>) -> Output {
    output(Command::new(env!("CARGO_BIN_EXE_timestop")).arg("check").arg(program.as_ref()))
}

/// Fails unless both refuse the program, with a line that names it and has these words.
fn is_refused(path: &Path, status: i32, words: &str) {
    let checked = check(path);
    let stdout = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(2), "{stdout}");
    assert!(stdout.ends_with("cannot work\n"), "{stdout}");
    let run = output(timestop_run().arg(path));
    let stderr = text(&run.stderr);
    assert_eq!(run.status.code(), Some(status), "{stderr}");
    assert!(run.stdout.is_empty(), "{}", text(&run.stdout));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let line = stderr.trim_start_matches("timestop: ").trim_end();
    assert!(line.contains(words), "{stderr}");
    assert!(line.contains(&path.display().to_string()), "{stderr}");
    assert!(stdout.contains(line), "the same reason: {stdout}\n{stderr}");
}

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";

#[test]
fn a_plain_program_can_work() {
    let program = Program::c_text(
        r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/socket.h>

static void *nothing(void *arg) {
    return arg;
}

int main(void) {
    pthread_t thread;
    char byte;
    if (pthread_create(&thread, 0, nothing, 0) || pthread_join(thread, NULL)) return 1;
    return recv(-1, &byte, 1, 0) == 1 && flock(-1, LOCK_EX) == 0;
}
"#,
        &[],
    );
    let checked = check(&program.path);
    let stdout = text(&checked.stdout);
    // Reservations of this machine, about its libc, are no fault of the program.
    let only_glibc =
        stdout.lines().filter(|line| line.contains("has not been tested")).count() as i32;
    assert_eq!(checked.status.code(), Some(only_glibc), "{stdout}");
    assert!(stdout.contains("\ncan work"), "{stdout}");
    assert!(stdout.contains("\n  threads: pthread_create pthread_join\n"), "{stdout}");
    assert!(stdout.contains("\n  sockets: recv\n"), "{stdout}");
    // Which functions are not hooked is for the hooks to say; the heading says what it means.
    assert!(stdout.contains("\nnot seen: "), "{stdout}");
}

#[test]
fn raw_system_calls_are_a_reservation_if_they_wait() {
    let calls = |number: u32| {
        let text = format!(
            "int main(void) {{ long result; __asm__ volatile(\"mov ${number}, %%eax\\n syscall\" : \"=a\"(result) : : \
             \"rcx\", \"r11\", \"memory\"); return result == 12345; }}"
        );
        Program::c_text(&text, &[])
    };
    let waits = check(&calls(34).path); // pause
    let stdout = text(&waits.stdout);
    assert_eq!(waits.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("can work, with reservations:\n"), "{stdout}");
    assert!(
        stdout.contains(
            "it makes system calls past libc, which no hook sees: 1 pause. One that waits"
        ),
        "{stdout}"
    );
    let stdout = text(&check(&calls(39).path).stdout); // getpid
    assert!(stdout.contains("1 getpid. None of them waits"), "{stdout}");
}

#[test]
fn restartable_sequences_are_a_reservation() {
    let program = Program::c_text("int __rseq_abi; int main(void) { return __rseq_abi; }", &[]);
    let checked = check(&program.path);
    let stdout = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("it uses restartable sequences (rseq)"), "{stdout}");
}

#[test]
fn a_python_with_a_global_lock_gets_one_worker_and_a_reserve() {
    let python = Program::python("mix", &[]);
    let stdout = text(&check(&python.path).stdout);
    assert!(stdout.contains("global interpreter lock: 1 worker, and others while"), "{stdout}");
    let mut command = timestop_run();
    command
        .arg("--stats")
        .arg(&python.path)
        .args(["-c", "import threading; t = threading.Thread(); t.start(); t.join()"]);
    let stderr = text(&output(&mut command).stderr);
    let told = match std::thread::available_parallelism() {
        Ok(count) if count.get() > 1 => format!(", for {count} workers, all but one in reserve\n"),
        _ => ", for 1 worker\n".to_owned(),
    };
    assert!(stderr.contains(&told), "and does: {stderr}");
}

#[test]
fn a_free_threaded_python_has_no_reserve() {
    // It has the functions of a Python with a lock, and one more.
    let named = |names: &[&str]| {
        let functions = names.iter().map(|name| format!("void {name}(void) {{}}\n"));
        let thread = "#include <pthread.h>\nstatic void *f(void *a) { return a; }\n\
                      int main(void) { pthread_t t; return pthread_create(&t, 0, f, 0); }\n";
        Program::c_text(&(functions.collect::<String>() + thread), &["-rdynamic"])
    };
    let cpus = std::thread::available_parallelism().expect("Linux tells").get();
    let lock = named(&["PyGILState_Check"]);
    let free = named(&["PyGILState_Check", "_Py_MergeZeroLocalRefcount"]);
    for (program, has_lock) in [(lock, true), (free, false)] {
        let stderr = text(&output(&mut program.run_with(&["--stats"])).stderr);
        assert!(stderr.contains(&format!(", for {cpus} worker")), "{stderr}");
        assert_eq!(stderr.contains("in reserve\n"), has_lock && cpus > 1, "{stderr}");
        let stdout = text(&check(&program.path).stdout);
        assert_eq!(stdout.contains("global interpreter lock"), has_lock, "{stdout}");
    }
}

#[test]
fn a_program_that_holds_the_crate_is_told_so() {
    let stdout = text(&check(env!("CARGO_BIN_EXE_timestop")).stdout);
    assert!(stdout.contains("holds the crate timestop"), "{stdout}");
}

#[test]
fn a_static_program_is_refused() {
    let program = Program::c_text(HELLO, &["-static"]);
    assert!(program.plain().status.success());
    is_refused(&program.path, 126, "is a static program: it has no dynamic linker");
    let pie = Program::c_text(HELLO, &["-static-pie"]);
    is_refused(&pie.path, 126, "is a static program");
}

#[test]
fn a_program_in_go_is_refused_as_such() {
    let mark =
        "__attribute__((section(\".go.buildinfo\"), used)) static const char mark[] = \"go\";\n";
    for flags in [&[][..], &["-static"]] {
        let program = Program::c_text(&format!("{mark}{HELLO}"), flags);
        is_refused(&program.path, 126, "is written in Go");
    }
}

#[test]
fn a_program_for_musl_is_refused_as_such() {
    let program = Program::c_text(HELLO, &["-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"]);
    is_refused(&program.path, 126, "is linked with musl (/lib/ld-musl-x86_64.so.1)");
}

#[test]
fn a_missing_or_foreign_dynamic_linker_is_told() {
    let program = Program::c_text(HELLO, &["-Wl,--dynamic-linker=/nothing/ld.so"]);
    is_refused(&program.path, 126, "its dynamic linker /nothing/ld.so is not there");
    let program = Program::c_text(HELLO, &["-Wl,--dynamic-linker=/bin/sh"]);
    is_refused(&program.path, 126, "its dynamic linker /bin/sh is not glibc's");
}

#[test]
fn a_program_with_a_sanitizer_is_refused() {
    let program = Program::c_text(HELLO, &["-fsanitize=address"]);
    is_refused(&program.path, 126, "is built with AddressSanitizer");
}

#[test]
fn a_program_for_another_machine_is_refused() {
    let program = Program::c_text(HELLO, &[]);
    let mut bytes = fs::read(&program.path).expect("it was built");
    bytes[18..20].copy_from_slice(&183_u16.to_le_bytes());
    fs::write(&program.path, &bytes).expect("ours");
    is_refused(&program.path, 126, "is for AArch64: fibers run on x86-64");
    bytes.truncate(30);
    fs::write(&program.path, &bytes).expect("ours");
    is_refused(&program.path, 126, "is a damaged ELF file");
}

const CALLS: &str = "int treasure(void); int main(void) { return treasure(); }";

#[test]
fn a_program_that_lacks_a_library_is_told_by_check() {
    let library = Program::c_library("int treasure(void) { return 7; }");
    let path = library.path.to_str().expect("a path of text").to_owned();
    let program = Program::c_text(CALLS, &["-Wl,--no-as-needed", &path]);
    assert_ne!(check(&program.path).status.code(), Some(2));
    drop(library);
    let stdout = text(&check(&program.path).stdout);
    assert!(stdout.contains(&format!("cannot be loaded: {path}: cannot open")), "{stdout}");
    // One that is searched for by its name.
    let library = Program::c_text(
        "int treasure(void) { return 7; }",
        &["-shared", "-fPIC", "-Wl,-soname,libnothing-is-called-this.so"],
    );
    let path = library.path.to_str().expect("a path of text");
    let program = Program::c_text(CALLS, &["-Wl,--no-as-needed", path]);
    let checked = check(&program.path);
    let stdout = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(2), "{stdout}");
    assert!(
        stdout.contains("cannot be loaded: libnothing-is-called-this.so: cannot open"),
        "{stdout}"
    );
}

/// Whether this test may give files away.
fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

#[test]
fn a_set_uid_program_is_refused() {
    let own = Program::c_text(HELLO, &[]);
    let path = if is_root() {
        chown(&own.path, Some(Uid::from_raw(65534)), None::<Gid>).expect("root may");
        fs::set_permissions(&own.path, fs::Permissions::from_mode(0o4755)).expect("root may");
        own.path.clone()
    } else {
        "/usr/bin/su".into()
    };
    is_refused(&path, 126, "is set-uid: its dynamic linker ignores");
}

#[test]
fn a_set_gid_program_is_refused() {
    if !is_root() {
        return; // no group to give it to
    }
    let program = Program::c_text(HELLO, &[]);
    chown(&program.path, None::<Uid>, Some(Gid::from_raw(65534))).expect("root may");
    fs::set_permissions(&program.path, fs::Permissions::from_mode(0o2755)).expect("root may");
    is_refused(&program.path, 126, "is set-gid");
    fs::set_permissions(&program.path, fs::Permissions::from_mode(0o2705)).expect("root may");
    let run = output(timestop_run().arg(&program.path));
    assert_eq!(text(&run.stdout), "hello\n", "without the group's permission it gains nothing");
}

#[test]
fn a_program_with_capabilities_is_refused_for_whom_it_gains_them() {
    if !is_root() {
        return; // only root may set them
    }
    let program = Program::c_text(HELLO, &[]);
    // `struct vfs_cap_data`, version 2, effective: CAP_NET_BIND_SERVICE.
    let words = [0x0200_0001_u32, 1 << 10, 0, 0, 0];
    let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    setxattr(&program.path, "security.capability", &value, XattrFlags::empty()).expect("root may");
    let run = output(timestop_run().arg(&program.path));
    assert_eq!(text(&run.stdout), "hello\n", "root has them anyway: {}", text(&run.stderr));
    // Another user must get there.
    let folder = program.path.parent().expect("a folder");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("ours");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_timestop"));
    let run = output(command.arg("run").arg(&program.path));
    assert_eq!(run.status.code(), Some(126), "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains("has file capabilities"), "{}", text(&run.stderr));
}

/// An executable file of this text, and the folder that keeps it.
fn script(contents: impl AsRef<[u8]>) -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("script");
    fs::write(&path, contents).expect("ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    (directory, path)
}

#[test]
fn a_script_is_followed_to_what_runs_it() {
    for (first, runner) in [
        ("#!/bin/sh -e\n", "run by /bin/sh -e\n"),
        ("", "run by /bin/sh\n"),
        ("#!/usr/bin/env sh\n", "/sh\n"),
    ] {
        let (_directory, path) = script(format!("{first}echo script \"$1\"\n"));
        let stdout = text(&check(&path).stdout);
        assert!(stdout.contains("is a script, run by ") && stdout.contains(runner), "{stdout}");
        let run = output(timestop_run().arg(&path).arg("runs"));
        assert_eq!(text(&run.stdout), "script runs\n", "{first:?}: {}", text(&run.stderr));
    }
    // By another script, which must pass it on.
    let (_inner, runner) = script("#!/bin/sh\necho runner \"$@\"\n");
    let (_outer, path) = script(format!("#!{} one\n", runner.display()));
    let run = output(timestop_run().arg(&path).arg("two"));
    assert_eq!(
        text(&run.stdout),
        format!("runner one {} two\n", path.display()),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn a_script_without_its_interpreter_is_refused() {
    let (_directory, path) = script("#!/nothing/python3\nprint()\n");
    is_refused(&path, 126, "its interpreter /nothing/python3 is not there");
    let (_directory, path) = script("#!/usr/bin/env nothing-is-called-this\n");
    is_refused(&path, 126, "its interpreter nothing-is-called-this is not in PATH");
    let (_directory, path) = script("#!\n");
    is_refused(&path, 126, "names no interpreter after #!");
    let (_directory, path) = script(b"\x00\x01\x02\x03 no text");
    is_refused(&path, 126, "is neither a program nor a script");
    // One whose interpreter cannot run on fibers.
    let program = Program::c_text(HELLO, &["-static"]);
    let (_directory, path) = script(format!("#!{}\n", program.path.display()));
    let refused = output(timestop_run().arg(&path));
    assert_eq!(refused.status.code(), Some(126));
    assert!(text(&refused.stderr).contains("is a static program"), "{}", text(&refused.stderr));
}

#[test]
fn a_folder_and_a_file_without_permission_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    is_refused(directory.path(), 126, "is a folder");
    let path = directory.path().join("treasure");
    fs::write(&path, "not executable\n").expect("ours");
    is_refused(&path, 126, "is not executable (chmod +x)");
}

#[test]
fn a_missing_program_is_named() {
    is_refused(Path::new("/nothing-is-called-this"), 127, "there is no such program");
    is_refused(Path::new("nothing-is-called-this"), 127, "there is no such program in PATH");
}

#[test]
fn libraries_beside_a_program_are_found_through_a_link_to_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [place, elsewhere] = ["place", "elsewhere"].map(|name| directory.path().join(name));
    fs::create_dir(&place).expect("a directory");
    fs::create_dir(&elsewhere).expect("a directory");
    let library = Program::c_library("int answer(void) { return 0; }");
    fs::copy(&library.path, place.join("libanswer.so")).expect("copied");
    let flags = [format!("-L{}", place.display()), "-Wl,-rpath,$ORIGIN".to_owned()];
    let text_of = "int answer(void); int main(void) { return answer(); }";
    let program =
        Program::c_text(text_of, &[&flags[0], &flags[1], "-Wl,--no-as-needed", "-lanswer"]);
    fs::copy(&program.path, place.join("program")).expect("copied");
    let link = elsewhere.join("link");
    std::os::unix::fs::symlink("../place/program", &link).expect("linked");
    let checked = check(&link);
    let stdout = text(&checked.stdout);
    assert!(stdout.contains("\ncan work"), "{stdout}");
    let run = output(timestop_run().arg(&link));
    assert!(run.status.success(), "{}", text(&run.stderr));
}
