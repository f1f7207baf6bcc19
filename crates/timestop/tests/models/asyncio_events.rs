//! Cases of CPython's `test_asyncio/test_events.py` and `test_selector_events.py`.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use timestop::reactor::{Deferred, EventLoop, Failure};

use crate::asyncio_base_events::{Steps, run_once, with_loop};
use crate::support::{Mix, on_fiber};

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("descriptors");
    ours.set_nonblocking(true).expect("a socket can");
    (ours, theirs)
}

/// `test_call_soon_threadsafe`, `test_call_soon_threadsafe_same_thread`: from fibers and OS threads.
#[test]
fn call_soon_threadsafe() {
    Mix::each(|mix| {
        let event_loop = EventLoop::new().expect("descriptors");
        const SENDERS: usize = 4;
        const EACH: usize = 100;
        let tasks: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let handle = event_loop.handle();
                mix.spawn(sender, move || {
                    for number in 0..EACH {
                        let sent = handle.call_soon_threadsafe(move |_| {
                            SEEN.with(|seen| seen.borrow_mut().push((sender, number)));
                        });
                        sent.expect("the loop is open");
                    }
                    handle.call_soon_threadsafe(|event_loop| {
                        ENDED.with(|ended| *ended.borrow_mut() += 1);
                        if ENDED.with(|ended| *ended.borrow() == SENDERS) {
                            event_loop.stop();
                        }
                    })
                })
            })
            .collect();
        event_loop.run_forever().expect("no error");
        for task in tasks {
            task.join().expect("the loop is open");
        }
        // In the order of each sender.
        let seen = SEEN.take();
        assert_eq!(seen.len(), SENDERS * EACH);
        for sender in 0..SENDERS {
            let of_one = seen.iter().filter(|(from, _)| *from == sender).map(|(_, number)| *number);
            assert!(of_one.eq(0..EACH));
        }
    });
}

thread_local! {
    static SEEN: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
    static ENDED: RefCell<usize> = const { RefCell::new(0) };
}

#[test]
fn reader_callback() {
    with_loop(|event_loop| {
        let (ours, mut theirs) = pair();
        let ours = Rc::new(ours);
        let read = Rc::new(RefCell::new(Vec::new()));
        let (all, this, mine) = (Rc::clone(&read), event_loop.clone(), Rc::clone(&ours));
        event_loop
            .add_reader(&ours, move || {
                let mut buffer = [0; 4];
                match (&*mine).read(&mut buffer) {
                    Ok(0) => {
                        assert!(this.remove_reader(&mine));
                        this.stop();
                    }
                    Ok(count) => all.borrow_mut().extend_from_slice(&buffer[..count]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            })
            .expect("it can be watched");
        event_loop.call_soon(move || {
            theirs.write_all(b"abc").expect("room");
            theirs.write_all(b"defghi").expect("room");
        });
        event_loop.run_forever().expect("no error");
        assert_eq!(*read.borrow(), b"abcdefghi");
        assert!(!event_loop.remove_reader(&ours));
    });
}

/// What is left unread is told again: level, not edge.
#[test]
fn a_reader_that_reads_nothing_is_called_again() {
    with_loop(|event_loop| {
        let (ours, mut theirs) = pair();
        let steps = Steps::default();
        event_loop.add_reader(&ours, steps.note(1)).expect("it can be watched");
        run_once(event_loop);
        assert!(steps.all().is_empty());
        theirs.write_all(b"x").expect("room");
        run_once(event_loop);
        run_once(event_loop);
        assert_eq!(steps.all(), [1, 1]);
    });
}

/// `test_reader_callback_cancel`: one that is removed in the iteration in which it was due.
#[test]
fn a_reader_that_is_removed_while_due_is_not_called() {
    with_loop(|event_loop| {
        let (one, mut to_one) = pair();
        let (two, mut to_two) = pair();
        to_one.write_all(b"x").expect("room");
        to_two.write_all(b"x").expect("room");
        let steps = Steps::default();
        event_loop.add_reader(&one, steps.note(1)).expect("it can be watched");
        event_loop.add_reader(&two, steps.note(1)).expect("it can be watched");
        // Scheduled before: it runs before the readers, which are due in the same iteration.
        let (this, mut note) = (event_loop.clone(), steps.note(2));
        event_loop.call_soon(move || {
            note();
            assert!(this.remove_reader(&one) && this.remove_reader(&two));
        });
        run_once(event_loop);
        run_once(event_loop);
        assert_eq!(steps.all(), [2]);
    });
}

#[test]
fn a_reader_takes_the_place_of_another() {
    with_loop(|event_loop| {
        let (ours, mut theirs) = pair();
        let steps = Steps::default();
        theirs.write_all(b"x").expect("room");
        event_loop.add_reader(&ours, steps.note(1)).expect("it can be watched");
        event_loop.add_reader(&ours, steps.note(2)).expect("it can be watched");
        run_once(event_loop);
        assert_eq!(steps.all(), [2]);
        assert!(event_loop.remove_reader(&ours));
        run_once(event_loop);
        assert_eq!(steps.all(), [2]);
    });
}

#[test]
fn writer_callback() {
    with_loop(|event_loop| {
        let (mut ours, theirs) = pair();
        let steps = Steps::default();
        // Full: nobody is called.
        let full = std::iter::from_fn(|| ours.write(&[0; 4096]).ok()).sum::<usize>();
        event_loop.add_writer(&ours, steps.note(1)).expect("it can be watched");
        run_once(event_loop);
        assert!(steps.all().is_empty());
        let mut read = vec![0; full];
        (&theirs).read_exact(&mut read).expect("as much was written");
        run_once(event_loop);
        assert_eq!(steps.all(), [1]);
        assert!(event_loop.remove_writer(&ours) && !event_loop.remove_writer(&ours));
        run_once(event_loop);
        assert_eq!(steps.all(), [1]);
    });
}

/// Reader and writer of one descriptor, added and removed in turn; the end of the other side is for both.
#[test]
fn reader_and_writer_of_one_descriptor() {
    with_loop(|event_loop| {
        let (ours, theirs) = pair();
        let steps = Steps::default();
        event_loop.add_reader(&ours, steps.note(1)).expect("it can be watched");
        event_loop.add_writer(&ours, steps.note(2)).expect("it can be watched");
        run_once(event_loop);
        assert_eq!(steps.all(), [2]);
        drop(theirs);
        run_once(event_loop);
        assert_eq!(steps.all(), [2, 1, 2]);
        assert!(event_loop.remove_writer(&ours));
        run_once(event_loop);
        assert_eq!(steps.all(), [2, 1, 2, 1]);
        assert!(event_loop.remove_reader(&ours));
    });
}

#[test]
fn what_cannot_be_waited_for_is_an_error() {
    with_loop(|event_loop| {
        let file = tempfile::tempfile().expect("a temporary file");
        let error = event_loop.add_reader(&file, || {}).expect_err("a regular file");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(!event_loop.remove_reader(&file));
    });
}

/// A number that was closed without being removed, and comes again for another file.
#[test]
fn a_number_that_is_used_again() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        let (ours, mut theirs) = pair();
        theirs.write_all(b"x").expect("room");
        event_loop.add_reader(&ours, steps.note(1)).expect("it can be watched");
        // The same number for another file, whoever else opens some.
        let (other, mut to_other) = pair();
        rustix::io::dup2(&other, &mut std::os::fd::OwnedFd::from(ours.try_clone().expect("room")))
            .expect("both are ours");
        drop(ours);
        run_once(event_loop);
        assert!(steps.all().is_empty(), "it was closed");
        event_loop.add_reader(&other, steps.note(2)).expect("it can be watched");
        to_other.write_all(b"x").expect("room");
        run_once(event_loop);
        assert_eq!(steps.all(), [2]);
    });
}

/// `test_run_in_executor`, Twisted's `deferToThread`.
#[test]
fn blocking_work_is_done_elsewhere() {
    with_loop(|event_loop| {
        let (mut ours, mut theirs) = UnixStream::pair().expect("descriptors");
        let read = event_loop.defer_to_fiber(move || {
            let mut byte = [0];
            ours.read_exact(&mut byte)?;
            Ok::<_, Failure>(byte[0])
        });
        // The loop goes on meanwhile.
        event_loop.call_soon(move || theirs.write_all(b"x").expect("room"));
        let byte = event_loop.run_until_complete(read).expect("it runs").expect("no error");
        assert_eq!(byte, b'x');
    });
}

#[test]
fn blocking_work_is_cancelled() {
    with_loop(|event_loop| {
        let (mut ours, theirs) = UnixStream::pair().expect("descriptors");
        let (done, ended) = timestop::channel::bounded::<()>(1);
        let read = event_loop.defer_to_fiber(move || {
            let mut byte = [0];
            let result = ours.read_exact(&mut byte);
            drop(done);
            result.map_err(Failure::from)
        });
        read.cancel();
        let error = event_loop.run_until_complete(read).expect("it runs").expect_err("cancelled");
        assert!(error.is::<timestop::reactor::CancelledError>());
        assert!(ended.recv() == Err(timestop::channel::RecvError::Disconnected));
        drop(theirs);
    });
}

#[test]
#[should_panic(expected = "in another fiber")]
fn a_panic_of_blocking_work_is_that_of_who_waits() {
    with_loop(|event_loop| {
        let fails =
            event_loop.defer_to_fiber(|| -> Result<(), Failure> { panic!("in another fiber") });
        let _ = event_loop.run_until_complete(fails);
    });
}

/// `blockingCallFromThread`: from fibers and OS threads.
#[test]
fn others_wait_for_deferreds_of_a_loop() {
    Mix::each(|mix| {
        let event_loop = EventLoop::new().expect("descriptors");
        let handle = event_loop.handle();
        let task = mix.spawn(1, move || {
            let value = handle.call(|event_loop| {
                let (trigger, deferred) = Deferred::<u32, Why>::new();
                event_loop.call_later(Duration::from_millis(1), move || {
                    trigger.callback(3).expect("once")
                });
                deferred
            });
            let error = handle.call(|_| timestop::reactor::fail::<u32, _>(Why("no")));
            let never = handle.call(|_| Deferred::<u32, Why>::new().1);
            handle.call_soon_threadsafe(EventLoop::stop).expect("it is open");
            (value, error, never)
        });
        event_loop.run_forever().expect("no error");
        let (value, error, never) = task.join();
        assert_eq!(value, Ok(3));
        assert_eq!(error, Err(timestop::reactor::CallError::Failed(Why("no"))));
        assert_eq!(never, Err(timestop::reactor::CallError::Dropped));
    });
}

#[derive(Debug, PartialEq, Eq)]
struct Why(&'static str);

impl From<timestop::reactor::CancelledError> for Why {
    fn from(_: timestop::reactor::CancelledError) -> Self {
        Self("cancelled")
    }
}

/// A fiber that is cancelled can still say so.
#[test]
fn a_cancelled_fiber_reaches_the_loop() {
    on_fiber(|| {
        let event_loop = EventLoop::new().expect("descriptors");
        let handle = event_loop.handle();
        let (waits, never) = timestop::channel::bounded::<()>(1);
        let fiber = timestop::spawn(move || {
            let ended = never.recv();
            handle.call_soon_threadsafe(EventLoop::stop).expect("it is open");
            ended
        });
        event_loop.call_soon(move || fiber.cancel());
        event_loop.run_forever().expect("no error");
        drop(waits);
    });
}

/// Cancelling the loop's fiber, or its time limit, ends the wait of the loop.
#[test]
fn cancelling_the_fiber_ends_the_loop() {
    on_fiber(|| {
        let (started, starts) = timestop::channel::bounded(1);
        let fiber = timestop::spawn(move || {
            let event_loop = EventLoop::new().expect("descriptors");
            event_loop.call_soon(move || started.send(()).expect("there is room"));
            event_loop.run_forever().map_err(|error| error.raw_os_error())
        });
        starts.recv().expect("it runs");
        fiber.cancel();
        assert_eq!(fiber.join().expect("no panic"), Err(Some(125)));
        let event_loop = EventLoop::new().expect("descriptors");
        let ended = timestop::timeout(Duration::from_millis(2), || event_loop.run_forever());
        assert_eq!(ended.expect_err("in time").kind(), ErrorKind::TimedOut);
        assert!(!event_loop.is_running());
    });
}

/// One that is never without something to do, too.
#[test]
fn cancelling_ends_a_loop_that_never_waits() {
    on_fiber(|| {
        let (started, starts) = timestop::channel::bounded(1);
        let fiber = timestop::spawn(move || {
            let event_loop = EventLoop::new().expect("descriptors");
            let (ours, _theirs) = pair();
            event_loop.add_writer(&ours, || {}).expect("it can be watched");
            event_loop.call_soon(move || started.send(()).expect("there is room"));
            event_loop.run_forever().map_err(|error| error.raw_os_error())
        });
        starts.recv().expect("it runs");
        fiber.cancel();
        assert_eq!(fiber.join().expect("no panic"), Err(Some(125)));
    });
}

/// Many loops, a fiber each: a message goes round them.
#[test]
fn many_loops() {
    on_fiber(|| {
        const LOOPS: usize = 50;
        let (handles, all) = timestop::channel::unbounded();
        let fibers: Vec<_> = (0..LOOPS)
            .map(|_| {
                let handles = handles.clone();
                timestop::spawn(move || {
                    let event_loop = EventLoop::new().expect("descriptors");
                    handles.send(event_loop.handle()).expect("somebody receives");
                    event_loop.run_forever().expect("no error");
                })
            })
            .collect();
        let handles: Vec<_> = (0..LOOPS).map(|_| all.recv().expect("each sends one")).collect();
        fn pass_on(handles: std::sync::Arc<Vec<timestop::reactor::EventLoopHandle>>, to: usize) {
            let Some(next) = handles.get(to).cloned() else { return };
            let passed = next.call_soon_threadsafe(move |event_loop| {
                pass_on(handles, to + 1);
                event_loop.stop();
            });
            passed.expect("it is open");
        }
        pass_on(std::sync::Arc::new(handles), 0);
        for fiber in fibers {
            fiber.join().expect("no panic");
        }
    });
}
