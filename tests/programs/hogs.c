/* Threads that compute in code of every kind, beside others that wait: none starves, and what each computes is right. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

enum { HOGS = 3, WAITERS = 20, TURNS = 10 };

static atomic_int stop;

/* Computes without a call; what it returns only depends on `seed`. */
static uint64_t compute(uint64_t seed, int effort) {
    double x = 1 + (double)(seed % 1000);
    uint64_t state = seed;
    for (int i = 0; i < effort * 1000; i++) {
        state = state * 6364136223846793005u + (seed | 1);
        x = x * 1.0001 + (double)(state >> 60);
        if (x > 1e6) x /= 1024;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return state ^ bits;
}

/* --- those who wait --- */

static void *sleeps(void *argument) {
    for (int i = 0; i < TURNS; i++) CHECK(nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL) == 0);
    return argument;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void *takes_turns(void *argument) {
    for (int i = 0; i < TURNS; i++) {
        OK(pthread_mutex_lock(&mutex));
        while (turn % WAITERS != (int)(intptr_t)argument) OK(pthread_cond_wait(&changed, &mutex));
        turn++;
        OK(pthread_cond_broadcast(&changed));
        OK(pthread_mutex_unlock(&mutex));
    }
    return argument;
}

static void *answers(void *argument) {
    int *ends = argument;
    char byte;
    while (read(ends[0], &byte, 1) == 1) CHECK(write(ends[1], &byte, 1) == 1);
    return NULL;
}

static void pipes(void) {
    int to[2], from[2];
    CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    int ends[2] = {to[0], from[1]};
    pthread_t thread;
    OK(pthread_create(&thread, NULL, answers, ends));
    for (int i = 0; i < 10 * TURNS; i++) {
        char byte = (char)i;
        CHECK(write(to[1], &byte, 1) == 1);
        CHECK(read(from[0], &byte, 1) == 1 && byte == (char)i);
    }
    CHECK(close(to[1]) == 0);
    OK(pthread_join(thread, NULL));
    CHECK(close(to[0]) == 0 && close(from[0]) == 0 && close(from[1]) == 0);
}

static void others_go_on(void) {
    pthread_t sleepers[WAITERS], takers[WAITERS];
    turn = 0;
    for (intptr_t i = 0; i < WAITERS; i++) {
        OK(pthread_create(&sleepers[i], NULL, sleeps, NULL));
        OK(pthread_create(&takers[i], NULL, takes_turns, (void *)i));
    }
    pipes();
    for (int i = 0; i < WAITERS; i++) {
        OK(pthread_join(sleepers[i], NULL));
        OK(pthread_join(takers[i], NULL));
    }
    CHECK(turn == WAITERS * TURNS);
}

/* Runs `body` in a few threads that call it until the others are through. */
static void *repeats(void *argument) {
    void (*body)(void) = (void (*)(void))argument;
    do {
        body();
    } while (!stop);
    return NULL;
}

static void beside(void (*body)(void), const char *theme) {
    pthread_t hogs[HOGS];
    stop = 0;
    for (int i = 0; i < HOGS; i++) OK(pthread_create(&hogs[i], NULL, repeats, (void *)body));
    for (int i = 0; i < 3; i++) others_go_on();
    stop = 1;
    for (int i = 0; i < HOGS; i++) OK(pthread_join(hogs[i], NULL));
    PASS(theme);
}

/* --- those who compute --- */

static void loops(void) {
    CHECK(compute(7, 50) == compute(7, 50));
}

static void allocates(void) {
    enum { BLOCKS = 100 };
    unsigned char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        sizes[i] = 1 + (size_t)i * i * 3;
        blocks[i] = malloc(sizes[i]);
        CHECK(blocks[i]);
        memset(blocks[i], i, sizes[i]);
    }
    for (int i = 0; i < BLOCKS; i += 3) {
        sizes[i] *= 2;
        blocks[i] = realloc(blocks[i], sizes[i]);
        CHECK(blocks[i]);
        memset(blocks[i], i, sizes[i]);
    }
    for (int i = 0; i < BLOCKS; i++) {
        for (size_t j = 0; j < sizes[i]; j++) CHECK(blocks[i][j] == i);
        free(blocks[i]);
    }
    /* From the kernel, and back to it. */
    char *large = calloc(1, 400000);
    CHECK(large && large[0] == 0 && large[399999] == 0);
    free(large);
}

static void copies(void) {
    enum { SIZE = 1 << 20 };
    unsigned char *from = malloc(SIZE), *to = malloc(SIZE);
    CHECK(from && to);
    for (int i = 0; i < SIZE; i++) from[i] = (unsigned char)(i * 7);
    for (int i = 0; i < 20; i++) {
        memcpy(to, from, SIZE);
        CHECK(memcmp(to, from, SIZE) == 0);
        memmove(to + 1, to, SIZE - 1);
        CHECK(memcmp(to + 1, from, SIZE - 1) == 0);
    }
    free(from);
    free(to);
}

static int compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void sorts(void) {
    enum { COUNT = 20000 };
    uint64_t *numbers = malloc(COUNT * sizeof *numbers), sum = 0;
    CHECK(numbers);
    for (uint64_t i = 0; i < COUNT; i++) sum += numbers[i] = i * 0x9e3779b97f4a7c15u;
    qsort(numbers, COUNT, sizeof *numbers, compare);
    for (int i = 0; i < COUNT; i++) {
        CHECK(i == 0 || numbers[i - 1] < numbers[i]);
        sum -= numbers[i];
    }
    CHECK(sum == 0);
    free(numbers);
}

/* A stream of ours, whose lock is held as its function computes. */
static ssize_t computes_and_counts(void *cookie, const char *text, size_t length) {
    (void)text;
    compute(length, 2);
    *(size_t *)cookie += length;
    return (ssize_t)length;
}

static FILE *stream;
static size_t streamed;
static atomic_size_t printed;

static void prints(void) {
    char text[128];
    double number = 1234.5678;
    int length = snprintf(text, sizeof text, "%d %.17g %20s %a", 42, number, "tail", number);
    char word[32];
    int integer;
    double again, exact;
    CHECK(length > 0 && sscanf(text, "%d %lf %31s %la", &integer, &again, word, &exact) == 4);
    CHECK(integer == 42 && again == number && exact == number && strcmp(word, "tail") == 0);
    length = fprintf(stream, "%s %d\n", text, integer);
    CHECK(length > 0);
    printed += (size_t)length;
    flockfile(stream);
    compute(1, 5);
    CHECK(fputc_unlocked('x', stream) == 'x' && fputc('\n', stream) == '\n');
    funlockfile(stream);
    printed += 2;
}

static void printing(void) {
    stream = fopencookie(&streamed, "w", (cookie_io_functions_t){.write = computes_and_counts});
    CHECK(stream);
    beside(prints, "printf");
    CHECK(fclose(stream) == 0);
    CHECK(streamed == printed);
}

static atomic_int strayed;

static void jumps_from(jmp_buf to, int depth) {
    volatile uint64_t kept = compute((uint64_t)depth, 1);
    if (depth > 0) jumps_from(to, depth - 1);
    else if (kept == compute(0, 1)) longjmp(to, 7);
    strayed++;
}

static void jumps(void) {
    jmp_buf to;
    volatile int times = 0;
    int result = setjmp(to);
    if (times++ < 20) {
        CHECK(result == (times == 1 ? 0 : 7));
        jumps_from(to, 30);
    }
    CHECK(times == 21 && strayed == 0);
    sigjmp_buf mask_too;
    if (sigsetjmp(mask_too, 1) == 0) siglongjmp(mask_too, 1);
}

/* A coroutine of the program's own, on a stack that nobody knows of. */
static void on_own_stack(unsigned low, unsigned high) {
    ucontext_t *contexts = (ucontext_t *)((uintptr_t)low | (uintptr_t)high << 32);
    for (;;) {
        CHECK(compute(5, 20) == compute(5, 20));
        CHECK(swapcontext(&contexts[1], &contexts[0]) == 0);
    }
}

static void switches(void) {
    enum { SIZE = 64 << 10 };
    ucontext_t contexts[2];
    void *stack = malloc(SIZE);
    CHECK(stack && getcontext(&contexts[1]) == 0);
    contexts[1].uc_stack.ss_sp = stack;
    contexts[1].uc_stack.ss_size = SIZE;
    contexts[1].uc_link = NULL;
    uintptr_t both = (uintptr_t)contexts;
    makecontext(&contexts[1], (void (*)(void))on_own_stack, 2, (unsigned)both, (unsigned)(both >> 32));
    for (int i = 0; i < 20; i++) CHECK(swapcontext(&contexts[0], &contexts[1]) == 0);
    free(stack);
}

/* --- signals --- */

static _Thread_local volatile sig_atomic_t handled;

static void computes_as_handler(int signal) {
    int kept = errno;
    if (compute((uint64_t)signal, 3) == compute((uint64_t)signal, 3)) handled++;
    errno = kept;
}

static void raises(void) {
    sig_atomic_t before = handled;
    for (int i = 1; i <= 10; i++) {
        CHECK(raise(SIGUSR1) == 0);
        CHECK(handled == before + i);
    }
}

static void raises_urgent(void) {
    sig_atomic_t before = handled;
    CHECK(raise(SIGURG) == 0);
    CHECK(handled == before + 1);
    /* Long enough for many preemptions, none of which is ours to see. */
    CHECK(compute(3, 100) == compute(3, 100));
    CHECK(handled == before + 1);
}

static void blocks_all(void) {
    sigset_t all, before;
    CHECK(sigfillset(&all) == 0);
    OK(pthread_sigmask(SIG_SETMASK, &all, &before));
    CHECK(compute(3, 50) == compute(3, 50));
    OK(pthread_sigmask(SIG_SETMASK, &before, NULL));
}

static void signals(void) {
    struct sigaction old, action = {.sa_handler = computes_as_handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    beside(raises, "handlers");
    beside(blocks_all, "blocked signals");
    CHECK(sigaction(SIGURG, &action, &old) == 0);
    CHECK(old.sa_handler == SIG_DFL);
    beside(raises_urgent, "SIGURG of its own");
    CHECK(signal(SIGURG, SIG_IGN) == computes_as_handler);
    beside(loops, "SIGURG ignored");
    CHECK(signal(SIGURG, SIG_DFL) == SIG_IGN);
}

/* --- the end of a thread, children, libraries --- */

static pthread_key_t key;
static atomic_int begun, ended;

static void computes_as_destructor(void *value) {
    CHECK(compute((uint64_t)(uintptr_t)value, 20) == compute((uint64_t)(uintptr_t)value, 20));
    ended++;
}

static void *sets_key(void *argument) {
    OK(pthread_setspecific(key, (void *)(uintptr_t)++begun));
    return argument;
}

static void ends(void) {
    pthread_t thread;
    OK(pthread_create(&thread, NULL, sets_key, NULL));
    OK(pthread_join(thread, NULL));
}

static int exit_status(pid_t child) {
    int status;
    pid_t waited;
    while ((waited = waitpid(child, &status, 0)) == -1 && errno == EINTR) {}
    CHECK(waited == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void forks(void) {
    uint64_t expected = compute(9, 10);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(compute(9, 10) == expected ? 7 : 99);
    CHECK(exit_status(child) == 7);
    char *const arguments[] = {"sh", "-c", "exit 8", NULL};
    child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        execv("/bin/sh", arguments);
        _exit(99);
    }
    CHECK(exit_status(child) == 8);
    int status = system("exit 9");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
}

static void loads(void) {
    void *handle = dlopen("libm.so.6", RTLD_NOW);
    CHECK(handle);
    double (*cosine)(double);
    *(void **)&cosine = dlsym(handle, "cos");
    CHECK(cosine && cosine(0) == 1);
    CHECK(dlclose(handle) == 0);
    /* Nothing else has this one: it comes and goes. */
    handle = dlopen("libnss_compat.so.2", RTLD_NOW);
    if (handle) CHECK(dlclose(handle) == 0);
    CHECK(!dlopen("/nothing-is-called-this.so", RTLD_NOW) && dlerror());
}

/* --- spinning for one another --- */

static atomic_flag spin = ATOMIC_FLAG_INIT;
static pthread_spinlock_t spinlock;
static long counter, shadow;

static void spins_and_yields(void) {
    for (int i = 0; i < 10; i++) {
        while (atomic_flag_test_and_set(&spin)) sched_yield();
        counter++;
        compute(1, 20);
        shadow++;
        CHECK(counter == shadow);
        atomic_flag_clear(&spin);
    }
}

static void spins(void) {
    OK(pthread_spin_lock(&spinlock));
    counter++;
    compute(1, 2);
    shadow++;
    CHECK(counter == shadow);
    OK(pthread_spin_unlock(&spinlock));
    compute(1, 20);
}

static void *never_ends(void *argument) {
    volatile int *forever = argument;
    while (*forever) {}
    return NULL;
}

int main(void) {
    beside(loops, "loops");
    beside(allocates, "malloc");
    beside(copies, "memcpy");
    beside(sorts, "qsort");
    printing();
    beside(jumps, "longjmp");
    beside(switches, "swapcontext");
    signals();
    OK(pthread_key_create(&key, computes_as_destructor));
    beside(ends, "destructors");
    CHECK(begun == ended);
    beside(forks, "fork vfork system");
    beside(loads, "dlopen");
    beside(spins_and_yields, "a spin lock that yields");
    OK(pthread_spin_init(&spinlock, PTHREAD_PROCESS_PRIVATE));
    beside(spins, "a spin lock");

    static volatile int forever = 1;
    pthread_t thread;
    for (int i = 0; i < HOGS; i++) OK(pthread_create(&thread, NULL, never_ends, (void *)&forever));
    others_go_on();
    PASS("endless loops");
    return 0;
}
