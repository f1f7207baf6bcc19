//! Pipes, child processes and files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{fan_out, on_fiber, pattern};

#[test]
fn pipes_push_back() {
    const LENGTH: usize = 4 << 20;
    on_fiber(|| {
        let pipes = fan_out(10, |seed| {
            let (mut reader, mut writer) = io::pipe().expect("a pipe");
            // Far more than a pipe holds, in one call.
            let write = timestop::spawn(move || writer.write_all(&pattern(seed, LENGTH)));
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("the writer writes and closes");
            write.join().expect("no panic").expect("everything was read");
            bytes == pattern(seed, LENGTH)
        });
        assert_eq!(pipes, [true; 10]);
    });
}

#[test]
fn writing_to_a_pipe_without_reader_fails() {
    on_fiber(|| {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let filler = timestop::spawn(move || {
            loop {
                if let Err(error) = writer.write_all(&[0; 4096]) {
                    return error.kind();
                }
            }
        });
        // The filler may be waiting for room by now, or not: it is told either way.
        timestop::yield_now();
        drop(reader);
        assert_eq!(filler.join().expect("no panic"), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_ring_of_pipes() {
    on_fiber(|| {
        const STAGES: usize = 50;
        let (mut output, mut first) = io::pipe().expect("a pipe");
        let mut stages = Vec::new();
        for _ in 0..STAGES {
            let (next_output, mut next) = io::pipe().expect("a pipe");
            let mut input = std::mem::replace(&mut output, next_output);
            stages.push(timestop::spawn(move || {
                let mut byte = [0];
                while input.read(&mut byte).expect("the stage before writes") == 1 {
                    next.write_all(&[byte[0].wrapping_add(1)]).expect("the stage after reads");
                }
            }));
        }
        for number in 0..100 {
            first.write_all(&[number]).expect("the first stage reads");
            let mut byte = [0];
            output.read_exact(&mut byte).expect("the last stage writes");
            assert_eq!(byte[0], number + STAGES as u8);
        }
        drop(first);
        for stage in stages {
            stage.join().expect("no panic");
        }
    });
}

#[test]
fn command_output() {
    let outputs = on_fiber(|| {
        fan_out(20, |index| {
            let script = format!("echo out {index}; echo err {index} >&2; exit {index}");
            Command::new("sh").args(["-c", &script]).output().expect("there is a shell")
        })
    });
    for (index, output) in outputs.into_iter().enumerate() {
        assert_eq!(output.status.code(), Some(index as i32));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("out {index}\n"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("err {index}\n"));
    }
}

#[test]
fn a_child_is_written_to_and_read_from() {
    const LENGTH: usize = 1 << 20;
    on_fiber(|| {
        fan_out(5, |seed| {
            let mut command = Command::new("cat");
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("there is cat");
            let mut stdin = child.stdin.take().expect("piped");
            let mut stdout = child.stdout.take().expect("piped");
            let writer = timestop::spawn(move || stdin.write_all(&pattern(seed, LENGTH)));
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).expect("cat writes");
            assert!(bytes == pattern(seed, LENGTH));
            writer.join().expect("no panic").expect("cat reads");
            assert!(child.wait().expect("our child").success());
        });
    });
}

#[test]
fn many_fibers_wait_for_their_children() {
    on_fiber(|| {
        // Each child ends when its own stdin is closed, the last first.
        let (ends, waiters): (Vec<_>, Vec<_>) = (0..20)
            .map(|index| {
                let script = format!("read line; exit {index}");
                let mut command = Command::new("sh");
                let mut child =
                    command.args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("starts");
                let stdin = child.stdin.take().expect("piped");
                (stdin, timestop::spawn(move || child.wait().expect("our child").code()))
            })
            .unzip();
        for (index, (end, waiter)) in ends.into_iter().zip(waiters).enumerate().rev() {
            assert!(!waiter.is_finished());
            drop(end);
            assert_eq!(waiter.join().expect("no panic"), Some(index as i32));
        }
    });
}

#[test]
fn a_killed_child_tells_its_signal() {
    on_fiber(|| {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("there is sleep");
        assert!(child.try_wait().expect("our child").is_none());
        child.kill().expect("our child");
        assert_eq!(child.wait().expect("our child").signal(), Some(9));
    });
}

#[test]
fn a_missing_program_is_not_found() {
    on_fiber(|| {
        let error = Command::new("/nothing-is-called-this").spawn().expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn files_are_written_and_read() {
    on_fiber(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().to_owned();
        fan_out(50, move |index| {
            let path = root.join(index.to_string());
            let bytes = pattern(index, 100_000);
            fs::write(&path, &bytes).expect("the directory is ours");
            let mut file =
                OpenOptions::new().read(true).write(true).open(&path).expect("just written");
            file.seek(SeekFrom::Start(50_000)).expect("a file can");
            let mut half = Vec::new();
            file.read_to_end(&mut half).expect("a file can");
            assert!(half == bytes[50_000..]);
            file.set_len(10).expect("a file can");
            file.sync_all().expect("a file can");
            assert_eq!(fs::read(&path).expect("just written"), bytes[..10]);
        });
    });
}

#[test]
fn appends_of_many_do_not_mix() {
    on_fiber(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let log = path.clone();
        fan_out(50, move |index| {
            let mut file = OpenOptions::new().append(true).create(true).open(&log).expect("ours");
            for round in 0..20 {
                file.write_all(format!("{index} {round}\n").as_bytes()).expect("a file can");
            }
        });
        let text = fs::read_to_string(path).expect("written");
        let mut next = [0; 50];
        for line in text.lines() {
            let (index, round) = line.split_once(' ').expect("two numbers");
            let index: usize = index.parse().expect("a number");
            assert_eq!(round.parse(), Ok(next[index]));
            next[index] += 1;
        }
        assert_eq!(next, [20; 50]);
    });
}

#[test]
fn a_file_lock_that_blocks_the_os_thread_excludes() {
    on_fiber(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("lock");
        File::create(&path).expect("ours");
        let inside = Arc::new(AtomicBool::new(false));
        fan_out(16, move |_| {
            for _ in 0..20 {
                // A lock of an open file, so that each opens it anew. The holder needs a worker to go on.
                let file = File::open(&path).expect("ours");
                file.lock().expect("a file can");
                assert!(!inside.swap(true, Ordering::AcqRel), "two hold the lock");
                thread::yield_now();
                inside.store(false, Ordering::Release);
                file.unlock().expect("locked");
            }
        });
    });
}
