#!/usr/bin/env python3
"""Packages of timestop: `package/build.py wheel`, `… deb`, `… tarball`, or several at once.

All hold one tree, which works wherever it is put, because the program finds the shared object from its
own place:

    bin/timestop    lib/timestop/libtimestop_preload.so    share/man    share/doc/timestop

Needs python3, cargo and binutils, dpkg-deb for the .deb, and nothing from the network but what cargo
needs for a build. Files and their order in a package depend on the sources alone; dates are the last
commit's, or SOURCE_DATE_EPOCH.
"""

import argparse
import base64
import email.utils
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OBJECT = "libtimestop_preload.so"
TARGET = "x86_64-unknown-linux-gnu"
# Libraries that every glibc system has: those that a manylinux wheel may need.
COMMON = {
    *("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1"),
    *("ld-linux-x86-64.so.2", "libgcc_s.so.1"),
}
SUMMARY = "Green threads for Linux: runs threaded programs, unchanged, with their threads as fibers"
DESCRIPTION = """\
`timestop run PROGRAM` runs any dynamically linked threaded program, in any
language, and makes every thread of it a fiber: a blocking call suspends the
fiber and the OS thread under it runs others. Nothing is recompiled, and a
program does on fibers what it does on threads.
"""
MAINTAINER = "{} <{}>".format(
    os.environ.get("DEBFULLNAME", "The timestop maintainers"),
    os.environ.get("DEBEMAIL", "maintainers@timestop.invalid"),
)


def output(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode()


def date():
    try:
        seconds = os.environ.get("SOURCE_DATE_EPOCH") or output("git", "log", "-1", "--format=%ct")
    except (OSError, subprocess.CalledProcessError):
        seconds = time.time()  # sources without their history
    return int(seconds)


# --- What there is ---


def cargo_metadata():
    command = ("cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", TARGET)
    return json.loads(output(*command))


def linked(metadata):
    """The packages of others whose code is in the program, by name."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found = set()
    todo = [id for id, package in packages.items() if package["name"] == "timestop-cli"]
    while todo:
        id = todo.pop()
        if id in found:
            continue
        found.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    others = (packages[id] for id in found if packages[id]["source"])
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def copyright(metadata):
    """Who holds the rights, and every licence that asks to go with its code."""
    ours = (ROOT / "LICENSE-MIT").read_text()
    text = [
        "timestop is licensed under MIT or Apache-2.0, at your option. The text of the latter is in\n"
        "/usr/share/common-licenses/Apache-2.0 on Debian, and at\n"
        f"https://www.apache.org/licenses/LICENSE-2.0; of the former:\n\n{ours}\n",
        "Its program and shared object hold Rust's standard library (MIT or Apache-2.0, the Rust\n"
        "Project's contributors) and these packages of https://crates.io:\n",
    ]
    texts = {}
    for package in linked(metadata):
        name = f"{package['name']} {package['version']}"
        text.append(f"  {name}: {package['license']}\n")
        files = sorted(Path(package["manifest_path"]).parent.glob("*"))
        files = [file for file in files if re.match("licen[cs]e|copying", file.name, re.I)]
        mit = [file for file in files if "MIT" in file.name.upper()]
        for file in mit or files:
            if file.is_file():
                texts.setdefault(file.read_text().strip(), []).append(name)
    for licence, names in texts.items():
        # Known by its first lines; where else it is, is said above.
        if "Apache License" in licence[:200] and "Version 2.0" in licence[:200]:
            licence = "Apache-2.0, as above."
        text.append(f"\n--- {', '.join(names)}\n\n{licence}\n")
    return "".join(text)


def build():
    """The program, built for release."""
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    metadata = cargo_metadata()
    return Path(metadata["target_directory"], "release", "timestop")


class Needs:
    """What ELF files ask of the system that they are loaded on."""

    def __init__(self, *files):
        text = "".join(output("objdump", "--private-headers", file) for file in files)
        libraries = set(re.findall(r"^ +NEEDED +(\S+)", text, re.M))
        if foreign := libraries - COMMON:
            sys.exit(f"package: linked with what not every system has: {', '.join(foreign)}")
        self.glibc = self.newest("GLIBC", text)
        self.gcc = self.newest("GCC", text)

    @staticmethod
    def newest(name, text):
        versions = re.findall(rf"\b{name}_(\d+)\.(\d+)", text)
        return max((int(major), int(minor)) for major, minor in versions)


class Tree:
    """What all packages hold."""

    def __init__(self, program, folder):
        self.folder = folder
        metadata = cargo_metadata()
        packages = metadata["packages"]
        self.version = next(p["version"] for p in packages if p["name"] == "timestop-cli")
        # Cargo keeps the object that it built with the program in `deps`.
        near = (program.parent / "deps" / OBJECT, program.parent / OBJECT)
        hooks = next((path for path in near if path.exists()), None)
        if hooks is None:
            sys.exit(f"package: {OBJECT} is not beside {program}")
        # Names of functions stay in the program, for its own dumps; the object's are never shown.
        self.strip("--strip-debug", program, "bin/timestop", 0o755)
        self.strip("--strip-unneeded", hooks, f"lib/timestop/{OBJECT}", 0o644)
        self.needs = Needs(folder / "bin/timestop", folder / "lib/timestop" / OBJECT)
        pages = folder / "share/man/man1"
        pages.mkdir(parents=True)
        subprocess.run([program, "man", pages], check=True)
        for page in pages.iterdir():
            self.write(f"share/man/man1/{page.name}.gz", gzipped(page.read_bytes()))
            page.unlink()
        changes = gzipped((ROOT / "CHANGELOG.md").read_bytes())
        self.write("share/doc/timestop/changelog.gz", changes)
        self.write("share/doc/timestop/copyright", copyright(metadata).encode())

    def strip(self, how, source, name, mode):
        path = self.folder / name
        path.parent.mkdir(parents=True)
        subprocess.run(["strip", how, "-R", ".comment", "-o", path, source], check=True)
        path.chmod(mode)

    def write(self, name, content):
        write(self.folder / name, content)

    def files(self):
        return files(self.folder)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)


def files(folder):
    """The names of all files in a folder and those below it, in order."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found)


def gzipped(content):
    return gzip.compress(content, mtime=0)


# --- Packages ---


def tarball(tree, to):
    name = f"timestop-{tree.version}-x86_64-linux-gnu"
    path = to / f"{name}.tar.gz"

    def neutral(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = date()
        return entry

    # The name and the date of the file inside are not for its users.
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for file in tree.files():
                archive.add(tree.folder / file, f"{name}/{file}", filter=neutral)
    return path


def deb(tree, to):
    version = f"{tree.version}-1"
    path = to / f"timestop_{version}_amd64.deb"
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        shutil.copytree(tree.folder, root / "usr")
        changes = gzipped(debian_changes(version).encode())
        write(root / "usr/share/doc/timestop/changelog.Debian.gz", changes)
        # Its dumps of itself (SIGQUIT) need the names of functions.
        excuse = b"timestop: unstripped-binary-or-object [usr/bin/timestop]\n"
        write(root / "usr/share/lintian/overrides/timestop", excuse)
        content = {name: (root / name).read_bytes() for name in files(root)}
        sums = (f"{hashlib.md5(bytes).hexdigest()}  {name}\n" for name, bytes in content.items())
        size = sum(map(len, content.values())) // 1024
        write(root / "DEBIAN/md5sums", "".join(sums).encode())
        write(root / "DEBIAN/control", debian_control(tree, version, size).encode())
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, path]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(date())}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return path


def debian_changes(version):
    return f"""\
timestop ({version}) unstable; urgency=medium

  * See changelog.gz.

 -- {MAINTAINER}  {email.utils.formatdate(date())}
"""


def debian_control(tree, version, size):
    glibc, gcc = (".".join(map(str, release)) for release in (tree.needs.glibc, tree.needs.gcc))
    return f"""\
Package: timestop
Version: {version}
Architecture: amd64
Maintainer: {MAINTAINER}
Installed-Size: {size}
Depends: libc6 (>= {glibc}), libgcc-s1 (>= {gcc})
Section: utils
Priority: optional
Description: green threads for threaded programs, unchanged
{textwrap.indent(DESCRIPTION, " ")}"""


def wheel(tree, to):
    """Of PyPA's "Binary distribution format". Independent of Python's release: no module is compiled."""
    tag = "py3-none-manylinux_{}_{}_x86_64".format(*tree.needs.glibc)
    name = f"timestop-{tree.version}"
    info = f"{name}.dist-info"
    entries = {}
    for file in sorted(ROOT.glob("package/python/timestop/*.py")):
        entries[f"timestop/{file.name}"] = (file.read_bytes(), 0o644)
    for file in tree.files():
        # What an installer puts among the programs, and what it puts below the same folder's parent.
        program = file.startswith("bin/")
        place = file.replace("bin/", "scripts/") if program else f"data/{file}"
        content = (tree.folder / file).read_bytes()
        entries[f"{name}.data/{place}"] = (content, 0o755 if program else 0o644)
    for file in ("LICENSE-MIT", "LICENSE-APACHE"):
        entries[f"{info}/licenses/{file}"] = ((ROOT / file).read_bytes(), 0o644)
    entries[f"{info}/METADATA"] = (wheel_metadata(tree).encode(), 0o644)
    described = f"Wheel-Version: 1.0\nGenerator: timestop\nRoot-Is-Purelib: false\nTag: {tag}\n"
    entries[f"{info}/WHEEL"] = (described.encode(), 0o644)
    lines = [f"{file},{digest(content)},{len(content)}" for file, (content, _) in entries.items()]
    lines.append(f"{info}/RECORD,,")
    entries[f"{info}/RECORD"] = ("".join(f"{line}\n" for line in lines).encode(), 0o644)
    path = to / f"{name}-{tag}.whl"
    when = time.gmtime(date())[:6]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, (content, mode) in entries.items():
            entry = zipfile.ZipInfo(file, when)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def digest(content):
    sum = hashlib.sha256(content).digest()
    return "sha256=" + base64.urlsafe_b64encode(sum).rstrip(b"=").decode()


def wheel_metadata(tree):
    return f"""\
Metadata-Version: 2.4
Name: timestop
Version: {tree.version}
Summary: {SUMMARY}
License-Expression: MIT OR Apache-2.0
License-File: LICENSE-MIT
License-File: LICENSE-APACHE
Classifier: Operating System :: POSIX :: Linux
Requires-Python: >=3.8
Description-Content-Type: text/markdown

{DESCRIPTION}
`python -m timestop script.py` runs a script with this interpreter on fibers.
"""


FORMATS = {"wheel": wheel, "deb": deb, "tarball": tarball}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("format", nargs="+", choices=FORMATS)
    parser.add_argument("--program", type=Path, help="instead of building one for release")
    parser.add_argument("--output", type=Path, help="a folder [default: target/package]")
    arguments = parser.parse_args()
    program = arguments.program or build()
    to = arguments.output or program.parent.parent / "package"
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(program, Path(folder))
        for format in arguments.format:
            print(FORMATS[format](tree, to))


if __name__ == "__main__":
    main()
