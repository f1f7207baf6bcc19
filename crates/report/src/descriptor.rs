//! What a descriptor is: a socket's addresses, a file's path. Asked by raw system calls.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use syscalls::{Sysno, raw_syscall};

use crate::raw::outcome;

/// `tcp 127.0.0.1:8000 <- 127.0.0.1:54321`, `pipe:[123]`, `/etc/passwd`; `None` where it is closed.
#[must_use]
pub(crate) fn describe(descriptor: i32) -> Option<String> {
    match socket(descriptor) {
        Some(text) => Some(text),
        None => link(descriptor),
    }
}

fn socket(descriptor: i32) -> Option<String> {
    let kind = option(descriptor, libc::SO_TYPE)?;
    let family = option(descriptor, libc::SO_DOMAIN)?;
    let protocol = match (family, kind) {
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) => "tcp",
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM) => "udp",
        (libc::AF_UNIX, _) => "unix",
        _ => return None,
    };
    let own = name(descriptor, Sysno::getsockname).and_then(address);
    let peer = name(descriptor, Sysno::getpeername).and_then(address);
    let mut text = protocol.to_owned();
    if let Some(own) = own {
        let _ = write!(text, " {own}");
    }
    if option(descriptor, libc::SO_ACCEPTCONN) == Some(1) {
        text.push_str(", listening");
    } else if let Some(peer) = peer {
        let _ = write!(text, " <- {peer}");
    }
    Some(text)
}

fn option(descriptor: i32, name: i32) -> Option<i32> {
    let (mut value, mut length) = (0_i32, 4_u32);
    // SAFETY: the kernel writes at most `length` bytes.
    let asked = unsafe {
        raw_syscall!(
            Sysno::getsockopt,
            descriptor,
            libc::SOL_SOCKET,
            name,
            &raw mut value,
            &raw mut length
        )
    };
    outcome(asked).ok().map(|_| value)
}

fn name(descriptor: i32, call: Sysno) -> Option<Vec<u8>> {
    let mut bytes = [0_u8; 128];
    let mut length = bytes.len() as u32;
    // SAFETY: the kernel writes at most `length` bytes.
    let asked = unsafe { raw_syscall!(call, descriptor, bytes.as_mut_ptr(), &raw mut length) };
    outcome(asked).ok()?;
    Some(bytes[..bytes.len().min(length as usize)].to_vec())
}

fn address(bytes: Vec<u8>) -> Option<String> {
    let family = i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let port = || Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    match family {
        libc::AF_INET => {
            let host: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv4Addr::from(host), port()?)).to_string())
        }
        libc::AF_INET6 => {
            let host: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv6Addr::from(host), port()?)).to_string())
        }
        libc::AF_UNIX => {
            // A leading zero: a name that is no file, shown with @ as ss(8) does.
            let path = bytes.get(2..).filter(|path| !path.is_empty())?;
            let (mark, path) = if path[0] == 0 { ("@", &path[1..]) } else { ("", path) };
            let path = String::from_utf8_lossy(path);
            Some(format!("{mark}{}", path.trim_end_matches('\0')))
        }
        _ => None,
    }
}

fn link(descriptor: i32) -> Option<String> {
    let path = format!("/proc/self/fd/{descriptor}\0");
    let mut bytes = [0_u8; 256];
    // SAFETY: a C string; the kernel writes at most that many bytes.
    let read = unsafe {
        raw_syscall!(
            Sysno::readlinkat,
            libc::AT_FDCWD,
            path.as_ptr(),
            bytes.as_mut_ptr(),
            bytes.len()
        )
    };
    let length = outcome(read).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::describe;

    #[test]
    fn sockets_and_files_are_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let own = listener.local_addr().expect("bound");
        assert_eq!(describe(listener.as_raw_fd()), Some(format!("tcp {own}, listening")));
        let client = TcpStream::connect(own).expect("it listens");
        let (server, peer) = listener.accept().expect("it connects");
        assert_eq!(describe(server.as_raw_fd()), Some(format!("tcp {own} <- {peer}")));
        drop(client);
        let file = std::fs::File::open("/proc/self/maps").expect("a process has it");
        assert!(describe(file.as_raw_fd()).is_some_and(|text| text.ends_with("/maps")));
        assert_eq!(describe(1 << 29), None);
    }
}
