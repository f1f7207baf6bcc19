//! What the lab needs to know of preemption: how it is asked for, and how often it happened.

/// The variable of the environment that makes the runtime preempt at random: microseconds between two.
pub(crate) const CHAOS: &str = "TIMESTOP_CHAOS";

/// How often a fiber of this process was suspended by signal.
pub(crate) fn count() -> u64 {
    timestop::stats().preemptions
}
