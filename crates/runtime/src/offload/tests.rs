//! How many threads there are for how much work.

use super::*;

/// A queue, and what was put into it: heads that are never run.
struct Model {
    queue: Queue,
    heads: Vec<*mut Head>,
    now: u64,
}

unsafe fn never(_: *mut Head, _: bool) {
    unreachable!("no test runs a job");
}

impl Model {
    fn new() -> Self {
        Self { queue: Queue::new(), heads: Vec::new(), now: 1 }
    }

    fn push(&mut self, count: usize) {
        for _ in 0..count {
            let head = Head { next: Cell::new(std::ptr::null_mut()), end: never };
            let head: *mut Head = Box::leak(Box::new(head));
            self.queue.push(head);
            self.heads.push(head);
        }
    }

    /// What the starter does at this moment; each new thread begins a job at once, if there is one.
    fn tend(&mut self) -> Tend {
        loop {
            match self.queue.tend(self.now) {
                Tend::Start => {
                    self.queue.starting -= 1;
                    self.queue.pop();
                }
                other => return other,
            }
        }
    }

    /// The same a window later.
    fn tend_later(&mut self) -> Tend {
        self.now += WINDOW;
        self.tend()
    }
}

#[test]
fn jobs_come_out_in_order() {
    let mut model = Model::new();
    model.push(3);
    let found: Vec<_> = std::iter::from_fn(|| model.queue.pop()).collect();
    assert_eq!(found, model.heads);
    assert_eq!((model.queue.waiting, model.queue.begun), (0, 3));
    model.push(1);
    assert!(model.queue.pop().is_some() && model.queue.pop().is_none());
}

#[test]
fn a_fast_burst_is_done_by_a_few_threads() {
    let mut model = Model::new();
    model.push(1000);
    model.tend();
    assert_eq!(model.queue.threads, AT_ONCE);
    for _ in 0..4 {
        (0..200).for_each(|_| assert!(model.queue.pop().is_some()));
        model.tend_later();
    }
    assert_eq!(model.queue.threads, AT_ONCE);
}

#[test]
fn slow_work_gets_more_threads_and_then_no_more() {
    let mut model = Model::new();
    model.push(1000);
    model.tend();
    let mut expected = AT_ONCE;
    while expected < MOST {
        assert!(matches!(model.tend(), Tend::LookAgain(at) if at == model.now + WINDOW));
        model.tend_later();
        expected *= 2;
        assert_eq!(model.queue.threads, expected);
    }
    assert!(matches!(model.tend_later(), Tend::Rest), "there is nothing to look at");
    assert_eq!(model.queue.threads, MOST);
}

#[test]
fn work_that_waits_for_nobody_gets_no_thread() {
    let mut model = Model::new();
    assert!(matches!(model.tend(), Tend::Rest));
    model.push(1);
    model.tend();
    assert_eq!(model.queue.threads, 1);
    // One sleeps and is called: nobody else is needed.
    model.queue.asleep = 1;
    model.push(1);
    assert_eq!((model.queue.asleep, model.queue.called), (0, 1));
    model.tend_later();
    assert_eq!(model.queue.threads, 1);
}

#[test]
fn work_is_given_back_where_no_thread_can_be_made() {
    let mut model = Model::new();
    model.push(3);
    assert!(matches!(model.queue.tend(1), Tend::Start));
    let given_back = model.queue.failed();
    assert_eq!(given_back, model.heads[0]);
    assert_eq!((model.queue.threads, model.queue.waiting), (0, 0));
    assert!(model.queue.pop().is_none());
    // With one thread there is somebody, and the next try is at the next look.
    model.push(3);
    assert!(matches!(model.queue.tend(1), Tend::Start));
    assert!(matches!(model.queue.tend(1), Tend::Start));
    assert!(model.queue.failed().is_null());
    assert!(matches!(model.queue.tend(1), Tend::LookAgain(_)));
    assert_eq!((model.queue.threads, model.queue.waiting), (1, 3));
}
