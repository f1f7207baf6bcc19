//! Greenlets: cases of greenlet's own `test_greenlet.py` and `test_throw.py`.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use timestop::coro::{Generator, Greenlet, GreenletExit, Value};

/// `test_simple`.
#[test]
fn simple() {
    let lst = Rc::new(RefCell::new(Vec::new()));
    let inside = Rc::clone(&lst);
    let main = Greenlet::current();
    let g = Greenlet::new(move |_| {
        inside.borrow_mut().push(1);
        main.switch(());
        inside.borrow_mut().push(3);
    });
    lst.borrow_mut().push(0);
    g.switch(());
    lst.borrow_mut().push(2);
    g.switch(());
    lst.borrow_mut().push(4);
    assert_eq!(*lst.borrow(), [0, 1, 2, 3, 4]);
    assert!(g.is_dead());
}

/// `test_parent_equals_None`, `test_parent_restored_on_kill`'s premise.
#[test]
fn the_parent_is_who_made_it() {
    let g = Greenlet::new(|_| ());
    assert_eq!(g.parent(), Some(Greenlet::current()));
    assert_eq!(Greenlet::current().parent(), None);
    assert!(!g.is_active() && !g.is_dead());
}

/// `test_two_children`.
#[test]
fn two_children() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let child = |name: &'static str| {
        let (order, main) = (Rc::clone(&order), Greenlet::current());
        Greenlet::new(move |_| {
            for step in 0..2 {
                order.borrow_mut().push((name, step));
                main.switch(());
            }
        })
    };
    let (g, h) = (child("g"), child("h"));
    for one in [&g, &h, &g, &h, &g, &h] {
        one.switch(());
    }
    assert_eq!(*order.borrow(), [("g", 0), ("h", 0), ("g", 1), ("h", 1)]);
    assert!(g.is_dead() && h.is_dead());
}

/// Ping-pong between two that are neither's parent.
#[test]
fn symmetrical_transfer() {
    let other: Rc<RefCell<Option<Greenlet>>> = Rc::default();
    let found = Rc::clone(&other);
    let ping = Greenlet::new(move |first| {
        let pong = found.borrow_mut().take().expect("it was set");
        let mut count = first.take::<u32>();
        while count < 1000 {
            count = pong.switch(count + 1).take();
        }
        count
    });
    let back = ping.clone();
    *other.borrow_mut() = Some(Greenlet::new(move |first| {
        let mut count = first.take::<u32>();
        loop {
            count = back.switch(count + 1).take();
        }
    }));
    assert_eq!(ping.switch(0_u32).take::<u32>(), 1000);
}

/// `test_exception`: what a greenlet raises goes on in its parent.
#[test]
fn a_panic_goes_on_in_the_parent() {
    let g = Greenlet::new(|_| -> () { panic!("some error") });
    let error = panic::catch_unwind(AssertUnwindSafe(|| g.switch(()))).expect_err("it panics");
    assert_eq!(error.downcast_ref(), Some(&"some error"));
    assert!(g.is_dead());
}

/// `test_send_exception`, `test_throw.py`'s `test_class`: thrown in, caught there.
#[test]
fn throw_unwinds_there() {
    let main = Greenlet::current();
    let g = Greenlet::new(move |_| {
        let caught = panic::catch_unwind(AssertUnwindSafe(|| main.switch("ready")));
        *caught.expect_err("it is thrown").downcast::<&str>().expect("a text")
    });
    assert_eq!(g.switch(()).take::<&str>(), "ready");
    assert_eq!(g.throw(Box::new("ciao")).take::<&str>(), "ciao");
    assert!(g.is_dead());
}

/// `test_throw.py`'s `test_kill`: `GreenletExit` ends it and is its value.
#[test]
fn greenlet_exit_is_a_value() {
    let main = Greenlet::current();
    let g = Greenlet::new(move |_| {
        main.switch(());
    });
    g.switch(());
    assert_eq!(g.throw(Box::new(GreenletExit)).take::<GreenletExit>(), GreenletExit);
    assert!(g.is_dead());
}

/// `test_throw.py`: thrown into one that has not begun, it runs nothing and goes to the parent.
#[test]
fn throw_before_it_began() {
    let ran = Rc::new(Cell::new(false));
    let inside = Rc::clone(&ran);
    let g = Greenlet::new(move |_| inside.set(true));
    let thrown = panic::catch_unwind(AssertUnwindSafe(|| g.throw(Box::new("early"))));
    assert_eq!(thrown.expect_err("it goes on here").downcast_ref(), Some(&"early"));
    assert!(g.is_dead() && !ran.get());
}

/// `test_switch_to_dead_greenlet`: the value goes to the parent, which is the caller here.
#[test]
fn switching_to_a_dead_one_is_to_its_parent() {
    let g = Greenlet::new(|_| 42);
    assert_eq!(g.switch(()).take::<i32>(), 42);
    assert_eq!(g.switch(7).take::<i32>(), 7);
    let inner = Greenlet::new(|_| Greenlet::new(|_| "x"));
    let orphan = inner.switch(()).take::<Greenlet>();
    assert!(inner.is_dead());
    assert_eq!(orphan.switch(()).take::<&str>(), "x", "its parent is dead: to the grandparent");
}

/// `test_set_parent`, `test_throw_to_dead_thread…`'s relative: results go where they are told.
#[test]
fn another_parent() {
    let main = Greenlet::current();
    let p = Greenlet::new(move |first: Value| format!("p got {}", first.take::<i32>()));
    let g = Greenlet::new(|_| 5);
    g.set_parent(&p);
    assert_eq!(g.switch(()).take::<String>(), "p got 5");
    assert!(p.is_dead());
    let g = Greenlet::new(|_| ());
    let h = Greenlet::new(|_| ());
    h.set_parent(&g);
    let cycle = panic::catch_unwind(AssertUnwindSafe(|| g.set_parent(&h)));
    assert!(cycle.is_err(), "ValueError: cyclic parent chain");
    assert!(panic::catch_unwind(AssertUnwindSafe(|| main.set_parent(&g))).is_err());
}

/// `test_dealloc`: one that nobody refers to any more is unwound.
#[test]
fn the_last_handle_ends_it() {
    struct Note(Rc<Cell<u32>>);
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let ended = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let note = Note(Rc::clone(&ended));
        let main = Greenlet::current();
        let g = Greenlet::new(move |_| {
            let _note = note;
            main.switch(());
        });
        let second = g.clone();
        g.switch(());
        drop(g);
        let before = ended.get();
        drop(second);
        assert_eq!(ended.get(), before + 1);
    }
    // One that switches away when nobody else holds it.
    let main = Greenlet::current();
    let note = Note(Rc::clone(&ended));
    Greenlet::new(move |_| {
        let _note = note;
        main.switch(());
    })
    .switch(());
    assert_eq!(ended.get(), 4);
}

/// One that is suspended within a generator goes on there, and is unwound from there.
#[test]
fn greenlets_in_generators_in_greenlets() {
    let main = Greenlet::current();
    let inside = Greenlet::new(move |_| {
        let mut g = Generator::<i32>::new(move |y| {
            let got = main.switch("in the generator").take::<i32>();
            y.yield_(got);
            main.switch("again");
        });
        assert_eq!(g.next(), Some(3));
        g.next();
    });
    assert_eq!(inside.switch(()).take::<&str>(), "in the generator");
    assert_eq!(inside.switch(3).take::<&str>(), "again");
    drop(inside);
}

#[test]
fn a_value_of_another_type_says_so() {
    let value = Value::new(Value::new(1_i32));
    assert!(value.is::<i32>(), "a value within a value is that value");
    let error = panic::catch_unwind(AssertUnwindSafe(|| value.take::<String>()));
    let error = error.expect_err("it is an i32");
    assert!(error.downcast_ref::<String>().expect("a text").contains("String"));
}
