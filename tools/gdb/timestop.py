"""Fibers of timestop in gdb: in a live process and in a core file, of a program under `timestop run` and
of one that holds the crate, with debug information and without.

    gdb -x timestop.py PROGRAM CORE
    (gdb) source timestop.py

    info fibers                    all fibers: number, name, what they do
    fiber                          which one is looked at
    fiber N                        look at that one: bt, frame, up, info locals … are its own then
    fiber off                      look at the OS thread again
    fiber apply all COMMAND        COMMAND for each (`bt`), or for `fiber apply 3 7 COMMAND`

No register is changed. A suspended fiber's registers lie on its stack, so its innermost frame is shown
as the caller of a frame that stands for the switch: frame 0 is that, the next one shown is the fiber's.
What needs the thread pointer (thread-locals by name) is the OS thread's still; the fiber's is $fs_base.
The selection ends when the program goes on.
"""

import struct

import gdb
import gdb.unwinder
from gdb.FrameDecorator import FrameDecorator

SYMBOL = "timestop_debugger"
VERSION = 1
# The words of the symbol behind magic and version, in their order.
WORDS = (
    "slabs count slab base slots class_ colours used smallest extra line record"
    " sp fs carrier state alive ended id name reason argument since running thread"
).split()
PARKED = 1
REASONS = [
    "wait", "sleep", "read", "write", "poll", "futex", "mutex", "condition variable", "semaphore",
    "end of fiber", "child process", "signal", "read-write lock", "barrier", "name lookup",
]
ADDRESSES = {"futex", "mutex", "condition variable", "semaphore", "read-write lock", "barrier"}
# What the switch has pushed, from the stack pointer upward. (The first word is MXCSR and x87 control.)
SAVED = ["r15", "r14", "r13", "r12", "rbx", "rbp", "rip"]


def read(address, length):
    return bytes(gdb.selected_inferior().read_memory(address, length))


def word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def in_c(body):
    """Runs with C as the language: a cast is written otherwise in Rust."""
    before = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        return body()
    finally:
        gdb.execute(f"set language {before}", to_string=True)


class Layout:
    """Where everything lies, as the program itself says."""

    def __init__(self):
        try:
            at = in_c(lambda: int(gdb.parse_and_eval(f"(unsigned long)&{SYMBOL}")))
        except gdb.error as error:
            raise gdb.GdbError(f"no fibers here: there is no symbol {SYMBOL} ({error})") from error
        if gdb.selected_thread() is None:
            raise gdb.GdbError("no fibers here: there is neither a process nor a core file")
        magic, version = struct.unpack("<8sQ", read(at, 16))
        if magic != b"timestop" or version != VERSION:
            raise gdb.GdbError(f"this script is not for this timestop: {magic!r}, version {version}")
        values = struct.unpack(f"<{len(WORDS)}Q", read(at + 16, 8 * len(WORDS)))
        self.__dict__.update(zip(WORDS, values))


class Fiber:
    def __init__(self, layout, address):
        at = lambda name: address + getattr(layout, name)
        self.address = address
        self.id = word(at("id"))
        self.name = read(at("name"), 32).split(b"\0")[0].decode(errors="replace")
        self.sp, self.fs = word(at("sp")), word(at("fs"))
        carrier = word(at("carrier"))
        is_running = carrier != 0 and word(carrier + layout.running) == address
        self.thread = struct.unpack("<I", read(carrier + layout.thread, 4))[0] if is_running else None
        self.is_parked = struct.unpack("<I", read(at("state"), 4))[0] == PARKED
        reason = struct.unpack("<I", read(at("reason"), 4))[0]
        self.reason = REASONS[reason] if reason < len(REASONS) else REASONS[0]
        self.argument = word(at("argument"))
        self.is_live = read(at("alive"), 1) != b"\0" and read(at("ended"), 1) == b"\0"

    def does(self):
        if self.thread is not None:
            return f"running on OS thread {self.thread}"
        if not self.is_parked:
            return "queued" if self.sp else "queued, has not run"
        if self.reason in ("read", "write"):
            return f"{self.reason} of descriptor {self.argument}"
        if self.reason == "end of fiber":
            return f"end of fiber {self.argument}"
        if self.reason in ADDRESSES:
            return f"{self.reason} {self.argument:#x}"
        return self.reason

    def title(self):
        name = f" '{self.name}'" if self.name else ""
        return f"fiber {self.id}{name} [{self.does()}]"

    def registers(self):
        """Those that the switch has saved, if the fiber is suspended."""
        values = struct.unpack(f"<{len(SAVED)}Q", read(self.sp + 8, 8 * len(SAVED)))
        saved = dict(zip(SAVED, values))
        saved["rsp"] = self.sp + 8 * (len(SAVED) + 1)
        saved["fs_base"] = self.fs
        return saved


def fibers():
    """All that live, by number."""
    layout = Layout()
    found = []
    for index in range(word(layout.count)):
        slab = layout.slabs + index * layout.slab
        base, used = word(slab + layout.base), word(slab + layout.used)
        size = (layout.smallest << read(slab + layout.class_, 1)[0]) + layout.extra
        colours = read(slab + layout.colours, 1)[0]
        for nth in range(used):
            try:
                top = base + (nth + 1) * size - nth % colours * layout.line
                fiber = Fiber(layout, top - layout.record)
            except gdb.MemoryError:
                continue  # never touched, and so not in the core file
            if fiber.is_live:
                found.append(fiber)
    return sorted(found, key=lambda fiber: fiber.id)


def flush():
    # (gdb.invalidate_cached_frames alone does not ask the unwinders again.)
    gdb.execute("maintenance flush register-cache", to_string=True)


class Selection:
    """The suspended fiber that is looked at, and the thread that lends its frame 0."""

    fiber = None
    registers = {}
    thread = None
    at = None

    def choose(self, fiber):
        self.clear()
        thread = gdb.selected_thread()
        frame = gdb.newest_frame()
        self.thread = thread.ptid
        self.at = (int(frame.read_register("rsp")), int(frame.read_register("rip")))
        self.fiber, self.registers = fiber, fiber.registers()
        flush()

    def clear(self):
        self.fiber = None
        flush()

    def is_here(self, sp, pc):
        thread = gdb.selected_thread()
        return (
            self.fiber is not None
            and thread is not None
            and thread.ptid == self.thread
            and (sp, pc) == self.at
        )


SELECTED = Selection()


def first_own():
    """The selected fiber's innermost frame, if one is selected and not gone."""
    if SELECTED.fiber is None:
        return None
    frame = gdb.newest_frame()
    at = tuple(int(frame.read_register(name)) for name in ("rsp", "rip"))
    if not SELECTED.is_here(*at):
        return None
    # What is inlined where the OS thread stands is frames too.
    while frame is not None and frame.type() == gdb.INLINE_FRAME:
        frame = frame.older()
    return frame.older() if frame is not None else None


class FrameId:
    def __init__(self, sp, pc):
        pointer = gdb.selected_inferior().architecture().integer_type(64, False)
        self.sp, self.pc = gdb.Value(sp).cast(pointer), gdb.Value(pc).cast(pointer)


class Unwinder(gdb.unwinder.Unwinder):
    """Says of the thread's newest frame that the selected fiber has called it."""

    def __init__(self):
        super().__init__("timestop")

    def __call__(self, pending):
        if SELECTED.fiber is None:
            return None
        sp, pc = (int(pending.read_register(name)) for name in ("rsp", "rip"))
        if not SELECTED.is_here(sp, pc):
            return None
        info = pending.create_unwind_info(FrameId(SELECTED.fiber.sp, pc))
        like = pending.read_register("rsp").type
        for name, value in SELECTED.registers.items():
            try:
                kind = pending.read_register(name).type
            except ValueError:
                continue  # a gdb that does not know fs_base
            kind = like if kind.sizeof != 8 else kind
            info.add_saved_register(name, gdb.Value(value.to_bytes(8, "little"), kind))
        return info


class SwitchFrame(FrameDecorator):
    """Frame 0 of a suspended fiber: it is not the OS thread's code that matters."""

    def function(self):
        return f"<suspended: {SELECTED.fiber.title()}>"

    def filename(self):
        return None

    def line(self):
        return None

    def address(self):
        return None

    def frame_args(self):
        return None

    def frame_locals(self):
        return None


class Filter:
    name = "timestop"
    priority = 100
    enabled = True

    def __init__(self):
        gdb.frame_filters[self.name] = self

    def filter(self, frames):
        own = first_own()
        for decorated in frames:
            level = decorated.inferior_frame().level()
            if own is None or level >= own.level():
                yield decorated
            elif level == 0:
                yield SwitchFrame(decorated)


def switch_to(fiber):
    """Looks at a fiber; where it runs, at its OS thread."""
    if fiber.thread is not None:
        SELECTED.clear()
        for thread in gdb.selected_inferior().threads():
            if fiber.thread in thread.ptid[1:]:
                thread.switch()
                return
        raise gdb.GdbError(f"OS thread {fiber.thread} of {fiber.title()} is not here")
    if fiber.sp == 0:
        raise gdb.GdbError(f"{fiber.title()}: it has no stack yet")
    if gdb.selected_thread() is None:
        raise gdb.GdbError("no process and no core file")
    SELECTED.choose(fiber)
    own = first_own()
    if own is not None:
        own.select()


def find(text):
    number = int(gdb.parse_and_eval(text))
    for fiber in fibers():
        if fiber.id == number:
            return fiber
    raise gdb.GdbError(f"there is no fiber {number}: see `info fibers`")


class InfoFibers(gdb.Command):
    """All fibers: number, name, and what each does."""

    def __init__(self):
        super().__init__("info fibers", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        selected = SELECTED.fiber.id if SELECTED.fiber else None
        for fiber in fibers():
            mark = "*" if fiber.id == selected else " "
            gdb.write(f"{mark} {fiber.id:<6} {fiber.name or '-':<16} {fiber.does()}\n")


class FiberCommand(gdb.Command):
    """Look at a fiber: fiber N, fiber off, fiber apply all|N… COMMAND. Alone: which one is looked at."""

    def __init__(self):
        super().__init__("fiber", gdb.COMMAND_STACK, prefix=False)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if not words:
            fiber = SELECTED.fiber
            gdb.write(f"{fiber.title()}\n" if fiber else "no suspended fiber is selected\n")
        elif words[0] == "off":
            SELECTED.clear()
        elif words[0] == "apply":
            self.apply(argument.split(None, 1)[1:])
        else:
            fiber = find(argument)
            switch_to(fiber)
            gdb.write(f"{fiber.title()}\n")

    def apply(self, rest):
        words = rest[0].split() if rest else []
        chosen = []
        while words and (words[0].isdigit() or words[0] == "all"):
            chosen.append(words.pop(0))
        if not chosen or not words:
            raise gdb.GdbError("fiber apply all|N… COMMAND")
        every = fibers()
        if "all" not in chosen:
            wanted = {int(number) for number in chosen}
            every = [fiber for fiber in every if fiber.id in wanted]
        thread, before = gdb.selected_thread(), SELECTED.fiber
        try:
            for fiber in every:
                gdb.write(f"\n{fiber.title()}:\n")
                if thread is not None:
                    thread.switch()
                try:
                    switch_to(fiber)
                    gdb.execute(" ".join(words))
                except gdb.error as error:
                    gdb.write(f"{error}\n")
        finally:
            if thread is not None:
                thread.switch()
            SELECTED.choose(before) if before else SELECTED.clear()


def forget(*_):
    # No frames are looked at here: the threads may be running.
    SELECTED.fiber = None


gdb.events.cont.connect(forget)
gdb.events.exited.connect(forget)
gdb.unwinder.register_unwinder(None, Unwinder(), replace=True)
Filter()
InfoFibers()
FiberCommand()
