//! `select!`, as a macro.

/// Waits until one of several channel operations can be done, and does that one.
///
/// ```
/// use std::time::Duration;
/// use timestop::channel::{bounded, select, unbounded};
///
/// let (numbers, more_numbers) = unbounded();
/// let (words, _receiver) = bounded(1);
/// numbers.send(7).unwrap();
///
/// let what = select! {
///     recv(more_numbers) -> number => format!("received {}", number.unwrap()),
///     send(words, "seven") -> sent => format!("sent: {}", sent.is_ok()),
///     default(Duration::from_secs(1)) => "nothing for a second".to_owned(),
/// };
/// assert!(what == "received 7" || what == "sent: true");
/// ```
///
/// - `recv(receiver) -> result => …`: `result` is what [`recv`](crate::channel::Receiver::recv) returns. A
///   closed channel can be received from at once, as in Go.
/// - `send(sender, message) -> result => …`: `result` is what [`send`](crate::channel::Sender::send)
///   returns. Where another arm is done, the message is dropped.
/// - `default => …`: where none of them can be done at once. `default(limit) => …`: nor within that time.
/// - `cancelled(why) => …`: the fiber was cancelled, or is past its [limit](crate::timeout); `why` is an
///   [`Interrupted`](crate::channel::Interrupted). Without this arm the first one gets that for its error.
///
/// Channels and messages are evaluated in order, once. Of several that are ready each has the same chance.
/// The value is that of the chosen arm, in which `break`, `return` and `?` are the surrounding code's.
///
/// Cost: 2 ns an arm and one operation, where one is ready; where none is, a lock for each arm, twice.
///
/// Source: Go's `select`; the notation is crossbeam-channel's.
#[macro_export]
#[doc(hidden)]
macro_rules! __channel_select {
    // An arm after the other. `channel`, `arm` and `result` are other names in each step.
    (@arms [$($arms:tt)*] $default:tt $cancelled:tt $index:expr;
        recv($receiver:expr) -> $pattern:pat => $body:block $(, $($rest:tt)*)?) => {
        $crate::__channel_select!(@arms
            [$($arms)* { recv channel arm result ($receiver) ($index) $pattern => $body }]
            $default $cancelled $index + 1; $($($rest)*)?)
    };
    (@arms [$($arms:tt)*] $default:tt $cancelled:tt $index:expr;
        send($sender:expr, $message:expr $(,)?) -> $pattern:pat => $body:block $(, $($rest:tt)*)?) => {
        $crate::__channel_select!(@arms
            [$($arms)* { send channel arm result ($sender, $message) ($index) $pattern => $body }]
            $default $cancelled $index + 1; $($($rest)*)?)
    };
    (@arms $arms:tt [] $cancelled:tt $index:expr;
        default => $body:block $(, $($rest:tt)*)?) => {
        $crate::__channel_select!(@arms $arms
            [($crate::channel::__private::Patience::None) $body] $cancelled $index; $($($rest)*)?)
    };
    (@arms $arms:tt [] $cancelled:tt $index:expr;
        default($limit:expr) => $body:block $(, $($rest:tt)*)?) => {
        $crate::__channel_select!(@arms $arms
            [($crate::channel::__private::patience($limit)) $body] $cancelled $index; $($($rest)*)?)
    };
    (@arms $arms:tt $default:tt [] $index:expr;
        cancelled($why:pat) => $body:block $(, $($rest:tt)*)?) => {
        $crate::__channel_select!(@arms $arms $default [$why => $body] $index; $($($rest)*)?)
    };
    // A block needs no comma after it.
    (@arms $arms:tt $default:tt $cancelled:tt $index:expr;
        $what:ident $(($($of:tt)*))? $(-> $pattern:pat)? => $body:block $next:ident $($rest:tt)*) => {
        $crate::__channel_select!(@arms $arms $default $cancelled $index;
            $what $(($($of)*))? $(-> $pattern)? => $body, $next $($rest)*)
    };
    // Any other expression is made a block.
    (@arms $arms:tt $default:tt $cancelled:tt $index:expr;
        $what:ident $(($($of:tt)*))? $(-> $pattern:pat)? => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__channel_select!(@arms $arms $default $cancelled $index;
            $what $(($($of)*))? $(-> $pattern)? => { $body }, $($($rest)*)?)
    };
    // All are there.
    (@arms $arms:tt [] [] $index:expr;) => {
        $crate::__channel_select!(@run $arms ($crate::channel::__private::Patience::Endless)
            (first) ended => { $crate::channel::__private::impossible(ended) })
    };
    (@arms $arms:tt [($patience:expr) $body:block] [] $index:expr;) => {
        $crate::__channel_select!(@run $arms ($patience) (first) _ended => $body)
    };
    (@arms $arms:tt [] [$why:pat => $body:block] $index:expr;) => {
        $crate::__channel_select!(@run $arms ($crate::channel::__private::Patience::Endless)
            (told) ended => {
                let $why = $crate::channel::__private::why(ended);
                $body
            })
    };
    (@arms $arms:tt [($patience:expr) $nothing:block] [$why:pat => $body:block] $index:expr;) => {
        $crate::__channel_select!(@run $arms ($patience) (told) ended => {
            if let $crate::channel::__private::Ended::Interrupted(why) = ended {
                let $why = why;
                $body
            } else {
                $nothing
            }
        })
    };
    (@arms $arms:tt $default:tt $cancelled:tt $index:expr; $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "expected `recv(receiver) -> result => …`, `send(sender, message) -> result => …`, ",
            "one `default => …` or `default(limit) => …` and one `cancelled(why) => …`, not: ",
            ::core::stringify!($($rest)+)
        ))
    };
    (@run
        [$({ $kind:ident $channel:ident $arm:ident $result:ident
            ($on:expr $(, $message:expr)?) ($index:expr) $pattern:pat => $body:block })*]
        ($patience:expr) ($blame:ident) $ended:ident => $else:block) => {{
        $(
            let $channel = &$on;
            $(let $arm = $message;)?
        )*
        $(
            let $arm = $crate::__channel_select!(@new $kind $channel ($index) $arm $(($message))?);
        )*
        let $ended = $crate::channel::__private::$blame(&[$($arm.arm()),*], $patience);
        $(let $result = $arm.end();)*
        $(
            if let ::core::option::Option::Some($result) = $result {
                let $pattern = $result;
                $body
            } else
        )*
        $else
    }};
    (@new recv $channel:ident ($index:expr) $arm:ident) => {
        $crate::channel::__private::ReceiveArm::new($channel, $index)
    };
    (@new send $channel:ident ($index:expr) $arm:ident ($message:expr)) => {
        $crate::channel::__private::SendArm::new($channel, $arm, $index)
    };
    (@$($wrong:tt)*) => {
        ::core::compile_error!(::core::stringify!(@$($wrong)*))
    };
    ($($arms:tt)*) => {
        $crate::__channel_select!(@arms [] [] [] 0; $($arms)*)
    };
}
