//! The cases of `golang.org/x/time/rate`'s tests (Copyright The Go Authors, BSD-style), in our words and
//! code, with a clock that stands: `t(n)` is `n` tenths of a second.

use std::time::Duration;

use super::bucket::{Bucket, Promise, Rate};

const TENTH: u64 = 100_000_000;
const START: u64 = 1 << 60;

fn t(tenths: u64) -> u64 {
    START + tenths * TENTH
}

fn bucket(per_second: u32, burst: u32) -> Bucket {
    Bucket::new(Rate::per_second(per_second), burst, t(0))
}

/// Requests at a time, of so many, and whether they are let through.
fn run(bucket: &mut Bucket, requests: &[(u64, u32, bool)]) {
    for (index, &(at, count, allowed)) in requests.iter().enumerate() {
        assert_eq!(bucket.reserve(count, t(at), 0).is_some(), allowed, "request {index}");
    }
}

/// A reservation at a time, of so many, and the time that it is promised for.
#[track_caller]
fn reserve(bucket: &mut Bucket, at: u64, count: u32, promised: u64) -> Promise {
    let promise = bucket.reserve(count, t(at), u64::MAX).expect("not more than the burst");
    assert_eq!((promise.at - START) / TENTH, promised);
    assert_eq!(promise.at, t(promised));
    promise
}

/// `TestLimiterBurst1`
#[test]
fn burst_1() {
    let requests = [
        (0, 1, true),
        (0, 1, false),
        (0, 1, false),
        (1, 1, true),
        (1, 1, false),
        (1, 1, false),
        (2, 2, false),
        (2, 1, true),
        (2, 1, false),
    ];
    run(&mut bucket(10, 1), &requests);
}

/// `TestLimiterBurst3`
#[test]
fn burst_3() {
    let requests = [
        (0, 2, true),
        (0, 2, false),
        (0, 1, true),
        (0, 1, false),
        (1, 4, false),
        (2, 1, true),
        (3, 1, true),
        (4, 1, true),
        (4, 1, true),
        (4, 1, false),
        (4, 1, false),
        (9, 3, true),
        (9, 0, true),
    ];
    run(&mut bucket(10, 3), &requests);
}

/// `TestLimiterJumpBackwards`
#[test]
fn jump_backwards() {
    let requests = [
        (1, 1, true),
        (0, 1, true),
        (0, 1, true),
        (0, 1, false),
        (0, 1, false),
        (1, 1, true),
        (1, 1, false),
        (2, 1, true),
        (2, 1, false),
    ];
    run(&mut bucket(10, 3), &requests);
}

/// `TestLimiter_noTruncationErrors`, and finer: times that are no whole number of nanoseconds a token add up.
#[test]
fn nothing_is_rounded_away() {
    for (tokens, period) in [(3, 1_000_000_000), (7, 10), (1_000_000_007, 1_000_000_000), (1, 7)] {
        let mut bucket = Bucket::new(Rate::new(tokens, Duration::from_nanos(period)), 1, START);
        let mut now = START;
        const COUNT: u64 = 100_000;
        for _ in 0..=COUNT {
            let promise = bucket.reserve(1, now, u64::MAX).expect("one is not too many");
            now = promise.at;
        }
        // The first was there. Each waits until the next nanosecond, and what is left over counts.
        let exact = (u128::from(COUNT) * u128::from(period)).div_ceil(u128::from(tokens)) as u64;
        let coarse = COUNT; // a bucket of one cannot give more than one a nanosecond
        assert_eq!(now - START, exact.max(coarse), "{tokens} in {period} ns");
    }
}

/// `TestLongRunningQPS`: asked at odd times, as many are let through as the rate says.
#[test]
fn long_running() {
    let mut bucket = bucket(100, 100);
    let (mut now, mut allowed, mut seed) = (START, 0_u64, 1_u64);
    while now < START + 500 * TENTH {
        allowed += u64::from(bucket.reserve(1, now, 0).is_some());
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        now += (seed >> 40) % 9_000_000;
    }
    // It is asked more often than tokens come, so none runs over after the first.
    let came = 100 + (now - START) * 100 / 1_000_000_000;
    assert!(came - 1 <= allowed && allowed <= came, "{allowed} of {came}");
}

/// `TestSimpleReserve`, `TestMix`
#[test]
fn reserving() {
    let mut one = bucket(10, 2);
    reserve(&mut one, 0, 2, 0);
    reserve(&mut one, 0, 2, 2);
    reserve(&mut one, 3, 2, 4);

    let mut mixed = bucket(10, 2);
    assert!(mixed.reserve(3, t(0), u64::MAX).is_none());
    reserve(&mut mixed, 0, 2, 0);
    run(&mut mixed, &[(1, 2, false), (1, 1, true)]);
    reserve(&mut mixed, 1, 1, 2);
    run(&mut mixed, &[(1, 0, false), (2, 0, true)]);
}

/// `TestCancelInvalid`, `TestCancelLast`, `TestCancelTooLate`
#[test]
fn cancel_last() {
    let mut invalid = bucket(10, 2);
    reserve(&mut invalid, 0, 2, 0);
    assert!(invalid.reserve(3, t(0), u64::MAX).is_none());
    reserve(&mut invalid, 0, 2, 2);

    let mut last = bucket(10, 2);
    reserve(&mut last, 0, 2, 0);
    let promise = reserve(&mut last, 0, 2, 2);
    last.cancel(promise, t(1));
    reserve(&mut last, 1, 2, 2);

    let mut late = bucket(10, 2);
    reserve(&mut late, 0, 2, 0);
    let promise = reserve(&mut late, 0, 2, 2);
    late.cancel(promise, t(3));
    reserve(&mut late, 3, 2, 4);
}

/// `TestCancel0Tokens`, `TestCancel1Token`, `TestCancelMulti`: less what was promised to others for later.
#[test]
fn cancel_before_others() {
    let mut none = bucket(10, 2);
    reserve(&mut none, 0, 2, 0);
    let promise = reserve(&mut none, 0, 1, 1);
    reserve(&mut none, 0, 1, 2);
    none.cancel(promise, t(0));
    reserve(&mut none, 0, 1, 3);

    let mut one = bucket(10, 2);
    reserve(&mut one, 0, 2, 0);
    let promise = reserve(&mut one, 0, 2, 2);
    reserve(&mut one, 0, 1, 3);
    one.cancel(promise, t(2));
    reserve(&mut one, 2, 2, 4);

    let mut several = bucket(10, 4);
    reserve(&mut several, 0, 4, 0);
    let first = reserve(&mut several, 0, 3, 3);
    reserve(&mut several, 0, 1, 4);
    let third = reserve(&mut several, 0, 1, 5);
    several.cancel(third, t(1));
    several.cancel(first, t(1));
    reserve(&mut several, 1, 3, 5);
}

/// `TestReserveJumpBack`, `TestReserveJumpBackCancel`
#[test]
fn reserving_backwards() {
    let mut back = bucket(10, 2);
    reserve(&mut back, 1, 2, 1);
    reserve(&mut back, 0, 1, 1);
    reserve(&mut back, 2, 2, 3);

    let mut cancelled = bucket(10, 2);
    reserve(&mut cancelled, 1, 2, 1);
    let promise = reserve(&mut cancelled, 1, 2, 3);
    reserve(&mut cancelled, 1, 1, 4);
    cancelled.cancel(promise, t(0));
    reserve(&mut cancelled, 1, 2, 4);
}

/// `TestReserveSetLimit`, `TestReserveSetBurst`, `TestReserveSetLimitCancel`
#[test]
fn changes() {
    let mut limit = bucket(5, 2);
    reserve(&mut limit, 0, 2, 0);
    reserve(&mut limit, 0, 2, 4);
    limit.set_rate(Rate::per_second(10), t(2));
    reserve(&mut limit, 2, 1, 4);

    let mut burst = bucket(5, 2);
    reserve(&mut burst, 0, 2, 0);
    reserve(&mut burst, 0, 2, 4);
    burst.set_burst(4, t(3));
    reserve(&mut burst, 0, 4, 9);

    // In other units, which come to the same.
    let mut cancelled = bucket(5, 2);
    reserve(&mut cancelled, 0, 2, 0);
    let promise = reserve(&mut cancelled, 0, 2, 4);
    cancelled.set_rate(Rate::every(Duration::from_nanos(TENTH)), t(2));
    cancelled.cancel(promise, t(2));
    reserve(&mut cancelled, 2, 2, 3);
}

/// `TestReserveMax`: what would take too long is not promised, and costs nothing.
#[test]
fn patience() {
    let mut bucket = bucket(10, 2);
    assert!(bucket.reserve(2, t(0), TENTH).is_some());
    assert_eq!(bucket.reserve(1, t(0), TENTH).map(|promise| promise.at), Some(t(1)));
    assert_eq!(bucket.reserve(1, t(0), TENTH), None);
    assert_eq!(bucket.reserve(1, t(1), TENTH).map(|promise| promise.at), Some(t(2)));
    assert_eq!((bucket.tokens(t(1)), bucket.tokens(t(2)), bucket.tokens(t(9))), (-1, 0, 2));
}

/// `TestLimiterInf`, `TestInfInit`…, `TestZeroLimit`, `TestSetAfterZeroLimit`
#[test]
fn infinite_and_zero() {
    let mut endless = Bucket::new(Rate::INFINITE, 0, t(0));
    run(&mut endless, &[(0, 1, true), (0, 1_000_000, true), (0, u32::MAX, true)]);
    let promise = endless.reserve(9, t(0), 0).expect("any number");
    endless.cancel(promise, t(0));
    endless.set_burst(2, t(1));
    endless.set_rate(Rate::per_second(10), t(1));
    run(&mut endless, &[(1, 2, true), (1, 1, false), (2, 1, true)]);
    endless.set_rate(Rate::INFINITE, t(2));
    run(&mut endless, &[(2, 9, true)]);

    let mut zero = Bucket::new(Rate::ZERO, 1, t(0));
    run(&mut zero, &[(0, 1, true), (0, 1, false), (100_000, 1, false)]);
    assert!(zero.reserve(1, t(1), u64::MAX).is_none() && !zero.may_promise(1, t(1)));
    assert!(zero.may_promise(0, t(1)));
    zero.set_rate(Rate::per_second(10), t(100_000));
    run(&mut zero, &[(100_000, 1, false), (100_001, 1, true)]);
}

/// The largest numbers there are do not overflow.
#[test]
fn extremes() {
    let longest = Rate::new(1, Duration::from_nanos(u64::MAX));
    let mut slow = Bucket::new(longest, u32::MAX, 0);
    assert!(slow.reserve(u32::MAX, 0, u64::MAX).is_some());
    assert_eq!(slow.reserve(1, 0, u64::MAX).map(|promise| promise.at), Some(u64::MAX));
    assert!(slow.reserve(u32::MAX, 0, u64::MAX).is_none());
    for rate in [Rate::new(u32::MAX, Duration::from_nanos(1)), longest] {
        slow.set_rate(rate, u64::MAX);
        assert_eq!((slow.tokens(u64::MAX), slow.rate()), (0, rate));
    }
}
