//! Libraries loaded while fibers live: every fiber has its own thread-locals of theirs, with the
//! initial values.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]

mod common;

use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_long, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::{Running, fiber, on_fiber, start};

/// One at a time: whether a library is the first to come is part of what is tested.
static ONE: Mutex<()> = Mutex::new(());

/// A barrier that fails where `std`'s would wait for ever, because someone has panicked.
struct Barrier {
    expected: usize,
    /// How many have come, in all rounds.
    come: Mutex<usize>,
    changed: Condvar,
}

impl Barrier {
    fn new(expected: usize) -> Self {
        Self { expected, come: Mutex::new(0), changed: Condvar::new() }
    }

    fn wait(&self) {
        let mut come = self.come.lock().expect("nobody panics here");
        *come += 1;
        let complete = come.next_multiple_of(self.expected);
        self.changed.notify_all();
        let waited =
            self.changed.wait_timeout_while(come, Duration::from_secs(20), |come| *come < complete);
        let late = waited.expect("nobody panics here").1.timed_out();
        assert!(!late, "someone does not come");
    }
}

/// Removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("timestop-library-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory of our own");
        Self(path)
    }

    /// Builds a shared object from C.
    fn build(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let (from, to) = (self.0.join(format!("{name}.c")), self.0.join(format!("{name}.so")));
        std::fs::write(&from, source).expect("writes");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&to).arg(&from).args(flags);
        let status = compiler
            .status()
            .unwrap_or_else(|error| panic!("cc: {error}; install gcc and libc6-dev"));
        assert!(status.success(), "cc fails");
        to
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A thread-local word with an initial value between two others, an uninitialised array, and their
/// value in the constructor.
const COUNTER: &str = "
static __thread long before = 11, word = 4242, after = 33;
static __thread char zeroes[24];
static long at_start;
__attribute__((constructor)) static void begin(void) { at_start = word; }
long get(void) {
    for (unsigned i = 0; i < sizeof zeroes; i++) if (zeroes[i]) return -1;
    return before == 11 && after == 33 ? word : -2;
}
void set(long value) { word = value; }
long start(void) { return at_start; }
";

#[derive(Clone, Copy)]
struct Library {
    handle: usize,
    get: extern "C" fn() -> c_long,
    set: extern "C" fn(c_long),
    start: extern "C" fn() -> c_long,
}

fn open(path: &Path) -> usize {
    let name = CString::new(path.to_str().expect("text")).expect("no zero");
    // SAFETY: a library of ours.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "{:?}", error());
    handle as usize
}

fn error() -> String {
    // SAFETY: null, or a C string until the next call.
    let text = unsafe { libc::dlerror() };
    assert!(!text.is_null());
    // SAFETY: as above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn symbol(handle: usize, name: &CStr) -> *mut c_void {
    // SAFETY: an open library.
    let symbol = unsafe { libc::dlsym(handle as *mut c_void, name.as_ptr()) };
    assert!(!symbol.is_null(), "{name:?}");
    symbol
}

impl Library {
    fn open(path: &Path) -> Self {
        let handle = open(path);
        let [get, set, start] = [c"get", c"set", c"start"].map(|name| symbol(handle, name));
        Self {
            handle,
            // SAFETY: what COUNTER defines.
            get: unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_long>(get) },
            // SAFETY: as above.
            set: unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_long)>(set) },
            // SAFETY: as above.
            start: unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_long>(start) },
        }
    }

    fn close(self) {
        // SAFETY: nobody uses the library any more.
        assert_eq!(unsafe { libc::dlclose(self.handle as *mut c_void) }, 0);
    }
}

thread_local! {
    static OURS: Cell<usize> = const { Cell::new(7) };
}

fn errno() -> &'static mut c_int {
    // SAFETY: answers an address.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the calling thread's own, valid while it lives.
    unsafe { &mut *place }
}

/// Each of a set of fibers sees the initial value, then its own.
fn has_its_own(library: Library, index: usize, everyone: &Barrier) {
    OURS.set(index);
    assert_eq!((library.get)(), 4242);
    (library.set)(1000 + index as c_long);
    everyone.wait();
    *errno() = index as c_int;
    assert_eq!((library.get)(), 1000 + index as c_long);
    for _ in 0..10 {
        timestop_runtime::yield_now();
        assert_eq!((*errno(), OURS.get()), (index as c_int, index));
    }
}

const FIBERS: usize = 50;

/// Fibers that wait at the gate, look, and wait for each other.
fn waiting(gate: &Arc<Barrier>, library: &Arc<Mutex<Option<Library>>>) -> Vec<Running<()>> {
    let everyone = Arc::new(Barrier::new(FIBERS));
    (0..FIBERS)
        .map(|index| {
            let (gate, library, everyone) = (gate.clone(), library.clone(), everyone.clone());
            fiber(move || {
                gate.wait();
                gate.wait();
                let library = library.lock().expect("no panic").expect("opened");
                has_its_own(library, index, &everyone);
            })
        })
        .collect()
}

fn fibers_before_and_after(flags: &[&str]) {
    let _one = ONE.lock();
    start();
    let directory = Directory::new();
    let path = directory.build("counter", COUNTER, flags);
    // Twice: the second time at the place that the first has left.
    for _ in 0..2 {
        let (gate, library) = (Arc::new(Barrier::new(FIBERS + 1)), Arc::new(Mutex::new(None)));
        let before = waiting(&gate, &library);
        let opened = {
            let (gate, path) = (gate.clone(), path.clone());
            on_fiber(move || {
                gate.wait();
                let opened = Library::open(&path);
                assert_eq!((opened.get)(), 4242);
                assert_eq!((opened.start)(), 4242, "in the constructor");
                opened
            })
        };
        *library.lock().expect("no panic") = Some(opened);
        gate.wait();
        before.into_iter().for_each(Running::join);
        let gate = Arc::new(Barrier::new(FIBERS + 1));
        let after = waiting(&gate, &library);
        gate.wait();
        gate.wait();
        after.into_iter().for_each(Running::join);
        opened.close();
    }
}

#[test]
fn initial_exec() {
    fibers_before_and_after(&["-ftls-model=initial-exec"]);
}

#[test]
fn global_dynamic() {
    fibers_before_and_after(&["-ftls-model=global-dynamic"]);
}

#[test]
fn descriptors() {
    fibers_before_and_after(&["-mtls-dialect=gnu2"]);
}

/// Linked without `crti.o`: nothing of it is called before its constructors.
#[test]
fn without_init() {
    let _one = ONE.lock();
    start();
    let directory = Directory::new();
    let flags = ["-ftls-model=initial-exec", "-nostartfiles"];
    let path = directory.build("bare", COUNTER, &flags);
    let (gate, library) = (Arc::new(Barrier::new(FIBERS + 1)), Arc::new(Mutex::new(None)));
    let before = waiting(&gate, &library);
    gate.wait();
    *library.lock().expect("no panic") = Some(on_fiber(move || Library::open(&path)));
    gate.wait();
    before.into_iter().for_each(Running::join);
}

/// Two libraries in the bytes of one word, and one that needs another.
#[test]
fn small_neighbours() {
    let _one = ONE.lock();
    start();
    let directory = Directory::new();
    let source = |value: u8| {
        format!(
            "static __thread unsigned char word = {value};\n\
             long get(void) {{ return word; }} void set(long to) {{ word = to; }}\n\
             long start(void) {{ return 0; }}"
        )
    };
    let flags = ["-ftls-model=initial-exec"];
    let paths: Vec<_> = (1..=12)
        .map(|index| directory.build(&format!("small{index}"), &source(index), &flags))
        .collect();
    let gate = Arc::new(Barrier::new(2));
    let libraries = Arc::new(Mutex::new(Vec::<Library>::new()));
    let old = {
        let (gate, libraries) = (gate.clone(), libraries.clone());
        fiber(move || {
            for index in 0..12 {
                gate.wait();
                gate.wait();
                let known = libraries.lock().expect("no panic").clone();
                for (number, library) in known.iter().enumerate() {
                    let expected = number + 1 + if number < index { 100 } else { 0 };
                    assert_eq!((library.get)(), expected as c_long);
                }
                (known[index].set)(101 + index as c_long);
            }
        })
    };
    for path in paths {
        gate.wait();
        libraries.lock().expect("no panic").push(on_fiber(move || Library::open(&path)));
        gate.wait();
    }
    old.join();
}

/// As many as the tables of modules were once too small for.
#[test]
fn forty_libraries() {
    let _one = ONE.lock();
    start();
    let directory = Directory::new();
    let first = directory.build("gd", COUNTER, &["-ftls-model=global-dynamic"]);
    let libraries: Vec<_> = (0..40)
        .map(|index| {
            let path = directory.0.join(format!("copy{index}.so"));
            std::fs::copy(&first, &path).expect("copies");
            path
        })
        .collect();
    let gate = Arc::new(Barrier::new(9));
    let known = Arc::new(Mutex::new(Vec::<Library>::new()));
    let fibers: Vec<_> = (0..8)
        .map(|own: c_long| {
            let (gate, known) = (gate.clone(), known.clone());
            fiber(move || {
                for count in 1..=40 {
                    gate.wait();
                    gate.wait();
                    let known = known.lock().expect("no panic").clone();
                    assert_eq!(known.len(), count);
                    for library in &known[..count - 1] {
                        assert_eq!((library.get)(), own);
                    }
                    assert_eq!((known[count - 1].get)(), 4242);
                    (known[count - 1].set)(own);
                }
            })
        })
        .collect();
    for path in libraries {
        gate.wait();
        let opened = on_fiber(move || Library::open(&path));
        known.lock().expect("no panic").push(opened);
        gate.wait();
    }
    fibers.into_iter().for_each(Running::join);
    // The slots' next fibers start anew.
    let known = known.lock().expect("no panic").clone();
    for _ in 0..20 {
        let known = known.clone();
        on_fiber(move || assert!(known.iter().all(|library| (library.get)() == 4242)));
    }
    known.into_iter().for_each(Library::close);
}

/// A constructor that sleeps, and one that starts threads which use the library.
#[test]
fn a_constructor_may_block() {
    let _one = ONE.lock();
    start();
    let source = "
        #include <pthread.h>
        #include <unistd.h>
        static __thread long word = 77;
        static long seen[3];
        static void *thread(void *place) { *(long *)place = word; word = 5; return 0; }
        __attribute__((constructor)) static void begin(void) {
            pthread_t id;
            word++;
            usleep(20000);
            if (pthread_create(&id, 0, thread, &seen[0]) == 0) pthread_join(id, 0);
            seen[1] = word;
        }
        long get(void) { return word; }
        void set(long value) { seen[2] = value; }
        long start(void) { return seen[0] * 1000 + seen[1]; }";
    let directory = Directory::new();
    let path = directory.build("slow", source, &["-ftls-model=initial-exec", "-pthread"]);
    on_fiber(move || {
        let opened = timestop_hooks::thread::adopt_within(|| Library::open(&path));
        assert_eq!((opened.start)(), 77 * 1000 + 78);
        assert_eq!((opened.get)(), 78, "what the constructor wrote is kept");
    });
}

/// A library finds its neighbour by its own RUNPATH, not by ours.
#[test]
fn the_callers_runpath_counts() {
    let _one = ONE.lock();
    start();
    let directory = Directory::new();
    directory.build("neighbour", "int here;", &[]);
    let source =
        "#include <dlfcn.h>\nvoid *find(void) { return dlopen(\"neighbour.so\", RTLD_NOW); }";
    let path = directory.build("finder", source, &["-Wl,-rpath,$ORIGIN"]);
    on_fiber(move || {
        let find = symbol(open(&path), c"find");
        // SAFETY: what the source defines.
        let find = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> usize>(find) };
        assert_ne!(find(), 0, "{:?}", error());
    });
}

#[test]
fn a_missing_library_is_an_error() {
    let _one = ONE.lock();
    start();
    on_fiber(|| {
        // SAFETY: a C string.
        let handle =
            unsafe { libc::dlopen(c"/nothing-is-called-this.so".as_ptr(), libc::RTLD_NOW) };
        assert!(handle.is_null());
        assert!(error().contains("nothing-is-called-this"));
    });
}
