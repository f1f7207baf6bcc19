//! A program outside this workspace, built as a user would build it: `tests/outside`.

use std::path::Path;
use std::process::Command;

use crate::support::{PLACEHOLDER, raise_descriptor_limit};

#[test]
fn a_users_program() {
    raise_descriptor_limit();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/outside/Cargo.toml");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    let fibers = if PLACEHOLDER { 1_000 } else { 10_000 };
    let output = Command::new(env!("CARGO"))
        .args(["run", "--release", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .arg("--")
        .arg(fibers.to_string())
        .output()
        .expect("cargo starts");
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    let summary = stdout.lines().last().unwrap_or_default();
    assert!(summary.starts_with(&format!("{fibers} fibers: all right")), "{stdout}");
}
