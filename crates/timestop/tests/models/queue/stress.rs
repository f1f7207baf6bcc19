//! Many at once, doing what a seed says, which is printed: nothing is lost, doubled, or waited for in vain.

use std::sync::Arc;
use std::time::Duration;

use timestop::queue::{AnyQueue, Fifo, GetError, Lifo, Order, PutError, Smallest};

use crate::support::{Mix, splitmix};

#[test]
fn any_mixture() {
    Mix::each(mixture::<Fifo>);
    Mix::each(mixture::<Lifo>);
    Mix::each(mixture::<Smallest>);
}

fn mixture<O: Order<u64> + Send + 'static>(mix: Mix)
where
    AnyQueue<u64, O>: Send + Sync,
{
    const TASKS: usize = 8;
    const EACH: u64 = 2_000;
    for round in 0..3 {
        let mut seed =
            std::process::id() as u64 ^ (round << 32) ^ std::ptr::from_ref(&round) as u64;
        println!("{} {mix:?} seed {seed:#x}", std::any::type_name::<O>());
        let queue = Arc::new(AnyQueue::<u64, O>::new((splitmix(&mut seed) % 6) as usize));
        let getters: Vec<_> = (0..TASKS)
            .map(|index| {
                let (queue, mut seed) = (Arc::clone(&queue), splitmix(&mut seed));
                mix.spawn(index, move || get_all(&queue, &mut seed))
            })
            .collect();
        let putters: Vec<_> = (0..TASKS as u64)
            .map(|index| {
                let (queue, mut seed) = (Arc::clone(&queue), splitmix(&mut seed));
                mix.spawn(index as usize, move || {
                    put_all(&queue, index * EACH..(index + 1) * EACH, &mut seed);
                })
            })
            .collect();
        putters.into_iter().for_each(crate::support::Task::join);
        queue.join().expect("nobody is cancelled");
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
        queue.shutdown();
        let mut got: Vec<_> = getters.into_iter().flat_map(crate::support::Task::join).collect();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..TASKS as u64 * EACH));
    }
}

fn put_all<O: Order<u64>>(queue: &AnyQueue<u64, O>, items: std::ops::Range<u64>, seed: &mut u64) {
    for mut item in items {
        loop {
            let put = match splitmix(seed) % 3 {
                0 => queue.put(item),
                1 => queue.put_timeout(item, Duration::from_micros(splitmix(seed) % 50)),
                _ => queue.try_put(item),
            };
            match put {
                Ok(()) => break,
                Err(PutError::Full(back)) => item = back,
                Err(other) => panic!("{other}"),
            }
            std::thread::yield_now();
        }
    }
}

fn get_all<O: Order<u64>>(queue: &AnyQueue<u64, O>, seed: &mut u64) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        let item = match splitmix(seed) % 3 {
            0 => queue.get(),
            1 => queue.get_timeout(Duration::from_micros(splitmix(seed) % 50)),
            _ => queue.try_get(),
        };
        match item {
            Ok(item) => {
                got.push(item);
                queue.task_done();
            }
            Err(GetError::Empty) => std::thread::yield_now(),
            Err(GetError::ShutDown) => return got,
            Err(other) => panic!("{other}"),
        }
    }
}
