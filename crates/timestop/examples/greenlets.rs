//! Greenlets: two that hand a ball to each other, neither the caller of the other; and tasklets at a channel.
//!
//! ```sh
//! cargo run -p timestop --example greenlets
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use timestop::coro::Greenlet;
use timestop::coro::tasklet::{Channel, Tasklet, run};

fn main() {
    let main = Greenlet::current();
    let pong: Rc<RefCell<Option<Greenlet>>> = Rc::default();
    let opponent = Rc::clone(&pong);
    let ping = Greenlet::new(move |first| {
        let pong = opponent.borrow().clone().expect("there are two players");
        let mut ball = first.take::<u32>();
        while ball < 6 {
            println!("ping {ball}");
            ball = pong.switch(ball + 1).take();
        }
        format!("{ball} strokes") // goes to the parent: `main`
    });
    let opponent = ping.clone();
    *pong.borrow_mut() = Some(Greenlet::new(move |first| {
        let mut ball = first.take::<u32>();
        loop {
            println!("    pong {ball}");
            ball = opponent.switch(ball + 1).take();
        }
    }));
    println!("{}", ping.switch(0_u32).take::<String>());
    assert_eq!(ping.parent(), Some(main));

    let words = Channel::new();
    for name in ["a", "b"] {
        let words = words.clone();
        Tasklet::new(move || {
            for nth in 1..=2 {
                words.send(format!("{name}{nth}")).expect("somebody receives");
            }
        });
    }
    let received = words.clone();
    Tasklet::new(move || received.iter().for_each(|word| println!("{word}")));
    run();
    println!("{} wait at the channel", words.balance());
    words.close();
    run();
}
