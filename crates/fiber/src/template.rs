//! The template: one real thread whose fresh TLS block is the image of every fiber's.
//!
//! glibc offers no way to make a thread's TLS block without a thread. So we let it make one, on a
//! stack of ours, and copy the block away in the thread's first instructions, *before anything
//! allocates*: an image taken after a `malloc` carries the template's allocation cache into every
//! fiber, and double frees follow. Then the template learns by experiment what no header tells
//! (where the thread id lies, which words `malloc` keeps), and parks for ever: it must live, because
//! glibc writes the initial TLS of libraries that are loaded later into every thread it knows, and
//! so into the template, from where we fetch it.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::fault::{self, Fault};
use crate::libc_private::LibcPrivate;
use crate::{Unsupported, next, switch, sys};

/// Room for the template's stack, the program's thread-locals not included.
const STACK: usize = 256 * 1024;
/// More than `sizeof(struct pthread)` in any glibc so far (2,304 bytes in 2.36).
const MAX_HEADER: usize = 8192;

/// Everything learnt from the template thread.
#[derive(Debug)]
pub(crate) struct Template {
    /// Its thread pointer.
    pub(crate) fs: usize,
    /// `[low, high)`: where its stack and block lie; words that point there must be relocated.
    pub(crate) low: usize,
    pub(crate) high: usize,
    /// Bytes of static TLS below the thread pointer that loaded modules use; and from glibc 2.41 on the
    /// area of restartable sequences, which lies beneath theirs and which the kernel reads and writes.
    pub(crate) used: usize,
    /// Bytes of static TLS below the thread pointer in all: used, and room for later `dlopen`s.
    pub(crate) reserved: usize,
    /// Bytes of `struct pthread` from the thread pointer up.
    pub(crate) header: usize,
    /// Alignment of the thread pointer.
    pub(crate) align: usize,
    /// A copy of `[fs - reserved, fs + header)` as it was in the first instructions.
    pub(crate) image: usize,
    /// Where the kernel's thread id lies, from the thread pointer up.
    pub(crate) tid_offset: usize,
    /// The highest TLS module number in use.
    pub(crate) modules: usize,
    /// Words of libc's TLS (below the thread pointer by this much) that hold `malloc`'s caches.
    pub(crate) malloc_words: [usize; 2],
}

/// What the new thread works on; lives on the stack of the thread that waits for it.
struct Experiment {
    image: usize,
    reserved: usize,
    stack_top: usize,
    fs: usize,
    header: usize,
    used: usize,
    modules: usize,
    /// Thread pointer and id of the thread that waits.
    other: (usize, u32),
    tid_offsets: [usize; 2],
    malloc_changed: [usize; 4],
    allocated: bool,
    /// 0 until the experiment is over.
    done: AtomicU32,
}

/// What a walk over the loaded modules finds.
struct Modules {
    fs: usize,
    used: usize,
    last: usize,
    /// libc's own TLS: where, and how long.
    libc_tls: usize,
    libc_tls_bytes: usize,
    /// An address inside libc, to know it by.
    libc_address: usize,
}

extern "C" fn visit_module(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: `dl_iterate_phdr` passes a valid record …
    let info = unsafe { &*info };
    // SAFETY: … and our own argument.
    let modules = unsafe { &mut *data.cast::<Modules>() };
    // SAFETY: the record's headers are `dlpi_phnum` long, and live as long as the module.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    modules.last = modules.last.max(info.dlpi_tls_modid);
    let block = info.dlpi_tls_data as usize;
    if block == 0 || block > modules.fs {
        return 0;
    }
    modules.used = modules.used.max(modules.fs - block);
    if next::holds(info, headers, modules.libc_address) {
        modules.libc_tls = block;
        let tls = headers.iter().find(|header| header.p_type == libc::PT_TLS);
        modules.libc_tls_bytes = tls.map_or(0, |tls| tls.p_memsz as usize);
    }
    0
}

/// The longest TLS of libc's that we can watch, in words.
const WATCHED: usize = 128;

extern "C" fn experiment(argument: *mut c_void) -> *mut c_void {
    let fs = switch::thread_pointer();
    // SAFETY: `create` keeps the record alive until `done` is set.
    let record = unsafe { &mut *argument.cast::<Experiment>() };
    record.fs = fs;
    record.header = record.stack_top - fs;
    let bytes = record.reserved + record.header.min(MAX_HEADER);
    // SAFETY: glibc laid the block out in these bytes below the stack's top; the image has room.
    unsafe {
        std::ptr::copy_nonoverlapping(
            (fs - record.reserved) as *const u8,
            record.image as *mut u8,
            bytes,
        );
    }

    let mut modules = Modules {
        fs,
        used: record.used,
        last: 0,
        libc_tls: 0,
        libc_tls_bytes: 0,
        libc_address: libc::gnu_get_libc_version as *const () as usize,
    };
    // SAFETY: the callback gets the record whose type it expects.
    unsafe { libc::dl_iterate_phdr(Some(visit_module), (&raw mut modules).cast()) };
    // A module's block may begin at any byte; what is done with blocks goes by words.
    record.used = modules.used.next_multiple_of(size_of::<usize>());
    record.modules = modules.last;

    let word = |index: usize| {
        // SAFETY: `index` is within libc's block of TLS, which is ours.
        unsafe { ((modules.libc_tls + index * 8) as *const usize).read_volatile() }
    };
    let words = (modules.libc_tls_bytes / 8).min(WATCHED);
    let before: [usize; WATCHED] =
        std::array::from_fn(|index| if index < words { word(index) } else { 0 });
    // Where memory is short malloc leaves a number there, which is none of its own words.
    // SAFETY: answers an address.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own, for as long as it lives.
    let number = unsafe { errno.read_volatile() };
    // SAFETY: plain C; the block is freed below.
    let block = unsafe {
        std::hint::black_box(libc::malloc as unsafe extern "C" fn(usize) -> *mut c_void)(100)
    };
    record.allocated = !block.is_null();
    // From glibc 2.42 on the cache is made by the first `free`.
    // SAFETY: allocated above.
    unsafe { libc::free(block) };
    // SAFETY: as above.
    unsafe { errno.write_volatile(number) };
    let mut found = 0;
    for (index, &old) in before.iter().enumerate().take(words) {
        if word(index) != old && found < record.malloc_changed.len() {
            record.malloc_changed[found] = fs - (modules.libc_tls + index * 8);
            found += 1;
        }
    }

    let words = record.header / 4;
    // SAFETY: `struct pthread` of this thread.
    let own = unsafe { std::slice::from_raw_parts(fs as *const u32, words) };
    let (other, other_tid) = record.other;
    // SAFETY: `struct pthread` of the thread that made this one, and waits for it.
    let other = unsafe { std::slice::from_raw_parts(other as *const u32, words) };
    record.tid_offsets = find_ids([(own, sys::thread_id()), (other, other_tid)]);
    record.done.store(1, Ordering::Release);
    sys::futex_wake_all(&record.done);
    // Do not touch `record` from here on. The template parks for ever: its block stays on glibc's
    // list of threads. Unless what it found is of no use.
    while VERDICT.load(Ordering::Acquire) != DISMISSED {
        sys::futex_wait(&VERDICT, VERDICT.load(Ordering::Acquire) & KEPT);
    }
    std::ptr::null_mut()
}

/// The first two offsets, in bytes, at which the headers of both threads hold that thread's id.
///
/// One header does not tell: an id may be the same number as half of an address (they begin with 0x7f00 to
/// 0x7fff), as a size, or a flag.
fn find_ids(threads: [(&[u32], u32); 2]) -> [usize; 2] {
    let [(one, id), (other, other_id)] = threads;
    let both = one.iter().zip(other).enumerate();
    let mut offsets = both
        .filter(|(_, (word, other_word))| **word == id && **other_word == other_id)
        .map(|(index, _)| index * size_of::<u32>());
    std::array::from_fn(|_| offsets.next().unwrap_or(0))
}

/// Whether the template is to stay; one is made at a time.
static VERDICT: AtomicU32 = AtomicU32::new(OPEN);
const OPEN: u32 = 0;
const KEPT: u32 = 1;
const DISMISSED: u32 = 2;

impl Template {
    /// Starts the template thread and waits for its findings.
    pub(crate) fn create(private: &LibcPrivate) -> Result<Self, Unsupported> {
        let (mut reserved, mut align) = (0, 0);
        // SAFETY: writes two numbers.
        unsafe { (private.static_tls_info)(&raw mut reserved, &raw mut align) };
        let out_of_memory = |error: std::io::Error| {
            Unsupported::for_now("memory for the template thread".to_owned(), error.to_string())
        };
        if fault::is(Fault::TemplateMemory) {
            return Err(out_of_memory(std::io::ErrorKind::OutOfMemory.into()));
        }
        let room = (STACK + reserved).next_multiple_of(sys::PAGE);
        let stack = sys::map(room).map_err(out_of_memory)?;
        let image_bytes = (reserved + MAX_HEADER).next_multiple_of(sys::PAGE);
        let image = sys::map(image_bytes).map_err(|error| {
            // SAFETY: nothing refers to it.
            unsafe { sys::unmap(stack, room) };
            out_of_memory(error)
        })?;
        let mut record = Experiment {
            image,
            reserved,
            stack_top: stack + room,
            fs: 0,
            header: 0,
            used: usize::try_from(-private.rseq_offset).unwrap_or(0),
            modules: 0,
            other: (switch::thread_pointer(), sys::thread_id()),
            tid_offsets: [0; 2],
            malloc_changed: [0; 4],
            allocated: false,
            done: AtomicU32::new(0),
        };

        // Every signal is blocked in the template: no handler may run there.
        let mask = block_signals();
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        // SAFETY: initialises the record.
        unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) };
        // SAFETY: the mapping is ours and as long as said.
        unsafe { libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack as *mut c_void, room) };
        let mut thread = 0;
        let argument = (&raw mut record).cast();
        let status = if fault::is(Fault::TemplateThread) {
            libc::EAGAIN
        } else {
            // SAFETY: the record outlives the experiment: we wait for it below.
            unsafe {
                (private.pthread_create)(&raw mut thread, attributes.as_ptr(), experiment, argument)
            }
        };
        if status == 0 {
            while record.done.load(Ordering::Acquire) == 0 {
                sys::futex_wait(&record.done, 0);
            }
        }
        restore_signals(mask);
        // SAFETY: initialised above.
        unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
        if status != 0 {
            // SAFETY: no thread was made on it.
            unsafe { sys::unmap(stack, room) };
            // SAFETY: nobody has written to it.
            unsafe { sys::unmap(image, image_bytes) };
            return Err(Unsupported::for_now(
                "a thread for the template".to_owned(),
                std::io::Error::from_raw_os_error(status).to_string(),
            ));
        }
        pretend(&mut record);
        let verdict = Self::judge(&record, stack, align);
        VERDICT.store(if verdict.is_ok() { KEPT } else { DISMISSED }, Ordering::Release);
        if verdict.is_err() {
            sys::futex_wake_all(&VERDICT);
            // SAFETY: made above, and joined once: it ends.
            unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
            VERDICT.store(OPEN, Ordering::Release);
            // SAFETY: the thread that was on it has ended.
            unsafe { sys::unmap(stack, room) };
            // SAFETY: nor does anybody copy from it: there is no template.
            unsafe { sys::unmap(image, image_bytes) };
        }
        verdict
    }

    /// Turns findings into a template, or says what does not fit.
    fn judge(record: &Experiment, low: usize, align: usize) -> Result<Self, Unsupported> {
        let expect = |what: &str, found: String| Err(Unsupported::new(what.to_owned(), found));
        if record.header < 704 || record.header > MAX_HEADER {
            return expect(
                "a thread header of 704 to 8192 bytes",
                format!("{} bytes", record.header),
            );
        }
        // What glibc calls the size of static TLS includes the header.
        let reserved = record.reserved.saturating_sub(record.header);
        if record.used == 0 || record.used > reserved {
            return expect(
                "static TLS within what glibc reserves",
                format!("{} bytes used of {reserved}", record.used),
            );
        }
        if record.tid_offsets[0] == 0 || record.tid_offsets[1] != 0 {
            return expect(
                "the thread id once in the thread header",
                format!("at offsets {:?}", record.tid_offsets),
            );
        }
        if !record.allocated {
            return expect("malloc to work in a fresh thread", "a null pointer".to_owned());
        }
        let changed = record.malloc_changed;
        let two = changed[1] != 0 && changed[2] == 0;
        let foreign = changed[0] == 0 && !malloc_is_libcs();
        if !two && !foreign {
            return expect(
                "two thread-local words of libc's malloc (cache, arena)",
                format!("words at {changed:?} that change"),
            );
        }
        Ok(Self {
            fs: record.fs,
            low,
            high: record.stack_top,
            used: record.used,
            reserved,
            header: record.header,
            align: align.max(64),
            image: record.image + record.header,
            tid_offset: record.tid_offsets[0],
            modules: record.modules,
            malloc_words: [changed[0], changed[1]],
        })
    }
}

/// Puts a finding that is wanted in the place of the template's.
fn pretend(record: &mut Experiment) {
    let id = record.tid_offsets[0];
    record.header = fault::instead(Fault::Header, record.header, 64);
    record.used = fault::instead(Fault::StaticTls, record.used, record.reserved + 1);
    record.tid_offsets = fault::instead(Fault::ThreadId, record.tid_offsets, [id, id + 4]);
    let three = [64, 72, 80, 0];
    record.malloc_changed = fault::instead(Fault::MallocWords, record.malloc_changed, three);
}

/// Whether `malloc` is libc's own (another allocator keeps its caches in ordinary thread-locals).
fn malloc_is_libcs() -> bool {
    let object = |address: *const ()| {
        let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: writes the record; the address is only compared.
        unsafe { libc::dladdr(address.cast(), info.as_mut_ptr()) };
        // SAFETY: all-zero is a valid record too.
        unsafe { info.assume_init() }.dli_fbase
    };
    object(libc::malloc as *const ()) == object(libc::gnu_get_libc_version as *const ())
}

/// Every signal but the one by which libc has each thread change its credentials: who does not answer
/// it holds up `setuid`.
pub(crate) const ALL_SIGNALS: u64 = !(1 << (33 - 1));

/// Blocks every signal for the calling thread and returns the mask before.
pub(crate) fn block_signals() -> u64 {
    let (all, mut before) = (ALL_SIGNALS, 0_u64);
    // SAFETY: the kernel's signal set is one u64 on x86-64.
    let _ = unsafe {
        syscalls::raw_syscall!(
            syscalls::Sysno::rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const all,
            &raw mut before,
            8
        )
    };
    before
}

/// Sets the calling thread's mask.
pub(crate) fn restore_signals(mask: u64) {
    // SAFETY: as above.
    let _ = unsafe {
        syscalls::raw_syscall!(
            syscalls::Sysno::rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            0,
            8
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_id_that_looks_like_half_of_an_address_is_told_from_it() {
        // Two addresses, a size, the id.
        let header = |id| [0x1000, 0x7f8c, 0x2000, 0x7f8c, 4096, 0, id];
        let at = |id, other| find_ids([(&header(id), id), (&header(other), other)]);
        assert_eq!(at(1234, 1235), [24, 0]);
        assert_eq!(at(0x7f8c, 0x7f8d), [24, 0]);
        assert_eq!(at(0x7f8b, 0x7f8c), [24, 0]);
        assert_eq!(at(4096, 1), [24, 0]);
        assert_eq!(find_ids([(&header(7), 7), (&header(8), 9)]), [0, 0], "no id is found");
    }
}
