//! System calls that a program makes by itself: no hook sees those. Its instructions are decoded one
//! after the other, as bytes that look like `syscall` are found in the middle of others too; and one
//! counts only if code before it has set the register of the number, as tables of constants lie
//! among the code of some libraries.

use std::collections::BTreeMap;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};
use syscalls::Sysno;

use super::image::Image;

/// Direct system calls in a file.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    /// How many instructions.
    pub(crate) count: usize,
    /// How many for each call; the rest have their number from elsewhere.
    pub(crate) known: BTreeMap<&'static str, usize>,
}

/// Calls that may wait for others, or for a disk.
const WAITS: &[&str] = &[
    "accept",
    "accept4",
    "clock_nanosleep",
    "connect",
    "copy_file_range",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "fdatasync",
    "flock",
    "fsync",
    "futex",
    "futex_waitv",
    "io_getevents",
    "io_pgetevents",
    "io_uring_enter",
    "mq_timedreceive",
    "mq_timedsend",
    "msgrcv",
    "msgsnd",
    "msync",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "pread64",
    "preadv",
    "preadv2",
    "pselect6",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "select",
    "semop",
    "semtimedop",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "splice",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "vmsplice",
    "wait4",
    "waitid",
    "write",
    "writev",
    "fcntl",
];

impl Direct {
    /// Those that may wait; calls whose number is not known may.
    pub(crate) fn waiting(&self) -> usize {
        let harmless = self.known.iter().filter(|(name, _)| !WAITS.contains(*name));
        self.count - harmless.map(|(_, count)| count).sum::<usize>()
    }

    /// `3 futex, 1 epoll_wait, 2 of unknown number`.
    pub(crate) fn describe(&self) -> String {
        let unknown = self.count - self.known.values().sum::<usize>();
        let known = self.known.iter().map(|(name, count)| format!("{count} {name}"));
        let unknown = (unknown > 0).then(|| format!("{unknown} of a number that is computed"));
        known.chain(unknown).collect::<Vec<_>>().join(", ")
    }
}

/// Counts the direct system calls of a file.
pub(crate) fn direct(image: &Image) -> Direct {
    let mut direct = Direct::default();
    for (address, bytes) in image.code() {
        // Where the two bytes are nowhere there is nothing to decode.
        if memchr::memmem::find(&bytes, &[0x0f, 0x05]).is_some() {
            scan(address, &bytes, &mut direct);
        }
    }
    direct
}

fn scan(address: u64, bytes: &[u8], direct: &mut Direct) {
    let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut number = Number::Unset;
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.code() == Code::Syscall {
            if number != Number::Unset {
                direct.count += 1;
            }
            if let Number::Known(number) = number
                && let Some(call) = Sysno::new(number as usize)
            {
                *direct.known.entry(call.name()).or_insert(0) += 1;
            }
            number = Number::Unset; // the result is there now
        } else if !matches!(
            instruction.flow_control(),
            FlowControl::Next | FlowControl::ConditionalBranch
        ) {
            number = Number::Unset;
        } else if writes_number(&instruction) {
            number = constant(&instruction).map_or(Number::Computed, Number::Known);
        }
    }
}

/// What the register of the number holds, as far as the instructions before tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    /// Nothing has set it since the last jump or call, or since what is no instruction.
    Unset,
    Computed,
    Known(u64),
}

fn writes_number(instruction: &Instruction) -> bool {
    instruction.op_count() > 0
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().full_register() == Register::RAX
        && !matches!(instruction.mnemonic(), iced_x86::Mnemonic::Cmp | iced_x86::Mnemonic::Test)
}

/// The value that an instruction puts into its register, if it says.
fn constant(instruction: &Instruction) -> Option<u64> {
    use iced_x86::Mnemonic::{Mov, Xor};
    match (instruction.mnemonic(), instruction.op1_kind()) {
        (Mov, OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64) => {
            Some(instruction.immediate(1))
        }
        (Xor, OpKind::Register) if instruction.op0_register() == instruction.op1_register() => {
            Some(0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_with_their_numbers() {
        let code = [
            0xb8, 0xca, 0x00, 0x00, 0x00, // mov eax, 202
            0x0f, 0x05, // syscall: futex
            0x31, 0xc0, // xor eax, eax
            0x0f, 0x05, // syscall: read
            0xb8, 0x0f, 0x05, 0x00, 0x00, // mov eax, 0x50f: no call in there
            0x89, 0xf8, // mov eax, edi
            0x0f, 0x05, // syscall: who knows
            0xb8, 0x27, 0x00, 0x00, 0x00, // mov eax, 39
            0x0f, 0x05, // syscall: getpid
            0xc3, // ret
            0x0f, 0x05, // a constant that looks like a call
            0xc3,
        ];
        let mut direct = Direct::default();
        scan(0, &code, &mut direct);
        assert_eq!(direct.count, 4);
        assert_eq!(direct.waiting(), 3, "{direct:?}");
        let text = direct.describe();
        assert_eq!(text, "1 futex, 1 getpid, 1 read, 1 of a number that is computed");
    }
}
