//! Whether a program gains privileges when it is executed. Its dynamic linker runs in secure mode
//! then, and loads nothing that the environment names (`AT_SECURE`, `ld.so(8)`).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, getxattr, statvfs};
use rustix::process::{getegid, geteuid, getgid, getuid};
use rustix::thread::no_new_privs;

const SET_USER: u32 = 0o4000;
/// Set-group-id; without the group's permission to execute it means something else.
const SET_GROUP: u32 = 0o2010;

/// What a program gains for the caller, in words that follow its name.
pub(super) fn gains(path: &Path, file: &Metadata) -> Option<&'static str> {
    if getuid() != geteuid() || getgid() != getegid() {
        return Some("would run with an effective user or group that is not the real one");
    }
    let ignored = statvfs(path)
        .is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::NOSUID))
        || no_new_privs().unwrap_or(false);
    if ignored {
        return None;
    }
    if file.mode() & SET_USER != 0 && file.uid() != getuid().as_raw() {
        return Some("is set-uid");
    }
    if file.mode() & SET_GROUP == SET_GROUP && file.gid() != getgid().as_raw() {
        return Some("is set-gid");
    }
    // Root has them anyway.
    let has = getxattr(path, "security.capability", &mut [0_u8; 64]).is_ok();
    (has && !getuid().is_root()).then_some("has file capabilities")
}
