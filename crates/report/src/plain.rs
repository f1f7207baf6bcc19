//! Text in a place of its own: numbers, names and what fibers wait for, without allocating. The
//! program's memory may be locked by a fiber that does not run.

use timestop_runtime::{Name, Reason};

use crate::waiting;

/// Bytes of text.
pub(crate) const ROOM: usize = 64 * 1024;

/// Text that waits to be written. What does not fit is cut off.
#[derive(Debug)]
pub(crate) struct Text {
    bytes: [u8; ROOM],
    length: usize,
}

impl Text {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; ROOM], length: 0 }
    }

    /// How many more bytes fit.
    pub(crate) fn room(&self) -> usize {
        ROOM - self.length
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        let end = (self.length + bytes.len()).min(ROOM);
        let count = end - self.length;
        self.bytes[self.length..end].copy_from_slice(&bytes[..count]);
        self.length = end;
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.put(text.as_bytes())
    }

    pub(crate) fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return self.put(&digits[start..]);
            }
        }
    }

    pub(crate) fn address(&mut self, number: u64) -> &mut Self {
        self.text("0x");
        let nibbles = (64 - number.leading_zeros()).div_ceil(4).max(1);
        for nibble in (0..nibbles).rev() {
            self.put(&[b"0123456789abcdef"[(number >> (4 * nibble) & 0xf) as usize]]);
        }
        self
    }

    pub(crate) fn microseconds(&mut self, nanoseconds: u64) -> &mut Self {
        let (whole, rest) = (nanoseconds / 1000, nanoseconds % 1000);
        let digit = |of: u64| b'0' + (of % 10) as u8;
        self.number(whole).put(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)])
    }

    /// Within a string of JSON's.
    pub(crate) fn escaped(&mut self, bytes: &[u8]) -> &mut Self {
        for chunk in bytes.utf8_chunks() {
            for byte in chunk.valid().bytes() {
                match byte {
                    b'"' | b'\\' => self.put(&[b'\\', byte]),
                    0..0x20 | 0x7f => self.put(b"?"),
                    _ => self.put(&[byte]),
                };
            }
            if !chunk.invalid().is_empty() {
                self.put(b"?");
            }
        }
        self
    }

    /// `NAME 17`, or `fiber 17`.
    pub(crate) fn who(&mut self, name: &Name, fiber: u64) -> &mut Self {
        match name.bytes() {
            b"" => self.text("fiber"),
            name => self.escaped(name),
        };
        self.text(" ").number(fiber)
    }

    pub(crate) fn what(&mut self, (reason, argument): (Reason, u64)) -> &mut Self {
        self.text(waiting::kind(reason));
        match reason {
            Reason::Read | Reason::Write => self.text(" of descriptor ").number(argument),
            Reason::Join => self.text(" of fiber ").number(argument),
            Reason::Futex
            | Reason::Mutex
            | Reason::Condition
            | Reason::Semaphore
            | Reason::RwLock
            | Reason::Barrier
            | Reason::Receive
            | Reason::Send => self.text(" ").address(argument),
            Reason::Select => self.text(" over ").number(argument),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_json() {
        let mut text = Box::new(Text::new());
        text.number(0).text(" ").number(u64::MAX).text(" ");
        text.microseconds(1_002_003).text(" ").microseconds(7).text(" ").microseconds(999);
        assert_eq!(text.bytes(), b"0 18446744073709551615 1002.003 0.007 0.999");
        text.clear();
        text.address(0).text(" ").address(0x7f00_0000_00ab);
        assert_eq!(text.bytes(), b"0x0 0x7f00000000ab");
        text.clear();
        text.escaped(b"a\"b\\c\n\xc3\xa9\xff");
        assert_eq!(std::str::from_utf8(text.bytes()), Ok("a\\\"b\\\\c?é?"));
    }
}
