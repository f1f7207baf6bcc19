/* Threads that end early: pthread_exit and pthread_cancel, with cleanup handlers. To be built twice: as it is handlers are
 * found by a list in libc, with -fexceptions by the unwinder. A line "PASS theme" for each theme that held. */
#define _GNU_SOURCE
#include <pthread.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { MANY = 500 };

/* What cleanup handlers have written, in order. */
static _Thread_local char *trace;
static char trace_of[64];

static void note(void *text) {
    strcat(trace, text);
}

static void begin_trace(void) {
    trace_of[0] = 0;
    trace = trace_of;
}

/* Joins a thread that must have been cancelled. */
static void join_canceled(pthread_t thread) {
    void *result;
    OK(pthread_join(thread, &result));
    CHECK(result == PTHREAD_CANCELED);
}

/* --- exit --- */

static _Atomic int key_destroyed;
static pthread_key_t key;

static void destroy(void *value) {
    (void)value;
    key_destroyed++;
}

static void __attribute__((noinline)) exit_deep(int depth, void *result) {
    pthread_cleanup_push(note, "b");
    if (depth > 0) exit_deep(depth - 1, result);
    if (depth == 0) pthread_exit(result);
    pthread_cleanup_pop(0);
}

static void destroyed(char **text) {
    note(*text);
}

static void *exits(void *result) {
    begin_trace();
    /* What a destructor of C++ is: run by the unwinder, where there is one. */
    char *text __attribute__((cleanup(destroyed))) = "d";
    OK(pthread_setspecific(key, &key));
    pthread_cleanup_push(note, "a");
    pthread_cleanup_push(note, "-");
    pthread_cleanup_pop(1);
    exit_deep(2, result);
    pthread_cleanup_pop(0);
    return NULL;
}

static void test_exit(void) {
    pthread_t thread;
    void *result;
    OK(pthread_key_create(&key, destroy));
    OK(pthread_create(&thread, NULL, exits, &key));
    OK(pthread_join(thread, &result));
    CHECK(result == &key);
#ifdef __EXCEPTIONS
    CHECK(strcmp(trace_of, "-bbbad") == 0);
#else
    CHECK(strcmp(trace_of, "-bbba") == 0);
#endif
    CHECK(key_destroyed == 1);
    PASS("exit runs handlers in order");
}

/* --- cancel while it waits --- */

static sem_t ready, never;
static int ends[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void unlock(void *locked) {
    note("u");
    OK(pthread_mutex_unlock(locked));
}

static void wait_read(void) {
    char byte;
    CHECK(read(ends[0], &byte, 1) == -2);
}

static void wait_recv(void) {
    char byte;
    CHECK(recv(ends[0], &byte, 1, 0) == -2);
}

static void wait_poll(void) {
    struct pollfd record = {.fd = ends[0], .events = POLLIN};
    CHECK(poll(&record, 1, -1) == -2);
}

static void wait_sleep(void) {
    CHECK(sleep(1000) == 1001);
}

static void wait_nanosleep(void) {
    struct timespec long_time = {.tv_sec = 1000};
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, NULL) == -2);
}

static void wait_semaphore(void) {
    CHECK(sem_wait(&never) == -2);
}

static void wait_condition(void) {
    OK(pthread_mutex_lock(&mutex));
    pthread_cleanup_push(unlock, &mutex);
    for (;;) OK(pthread_cond_wait(&condition, &mutex));
    pthread_cleanup_pop(1);
}

static void wait_condition_timed(void) {
    struct timespec at;
    CHECK(clock_gettime(CLOCK_REALTIME, &at) == 0);
    at.tv_sec += 1000;
    OK(pthread_mutex_lock(&mutex));
    pthread_cleanup_push(unlock, &mutex);
    for (;;) OK(pthread_cond_timedwait(&condition, &mutex, &at));
    pthread_cleanup_pop(1);
}

static void *waits_for_never(void *unused) {
    CHECK(sem_wait(&never) == 0);
    return unused;
}

static pthread_t joined;

static void wait_join(void) {
    OK(pthread_join(joined, NULL));
}

static void wait_signal(void) {
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    OK(sigwait(&set, &signal));
}

static void wait_pause(void) {
    CHECK(pause() == -2);
}

static void wait_spinning(void) {
    for (;;) pthread_testcancel();
}

static void *waits(void *how) {
    void (*wait)(void) = (void (*)(void))(intptr_t)how;
    begin_trace();
    pthread_cleanup_push(note, "c");
    CHECK(sem_post(&ready) == 0);
    wait();
    pthread_cleanup_pop(0);
    return NULL;
}

static void test_waits(void) {
    static const struct {
        const char *name;
        void (*wait)(void);
    } all[] = {
        {"read", wait_read}, {"recv", wait_recv}, {"poll", wait_poll}, {"sleep", wait_sleep},
        {"nanosleep", wait_nanosleep}, {"semaphore", wait_semaphore}, {"condition", wait_condition},
        {"timed condition", wait_condition_timed}, {"join", wait_join}, {"sigwait", wait_signal},
        {"pause", wait_pause}, {"testcancel", wait_spinning},
    };
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    OK(pthread_create(&joined, NULL, waits_for_never, NULL));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int round = 0; round < 20; round++) {
            pthread_t thread;
            OK(pthread_create(&thread, NULL, waits, (void *)(intptr_t)all[i].wait));
            CHECK(sem_wait(&ready) == 0);
            /* In the wait, or just before it. */
            for (int turn = 0; turn < round; turn++) sched_yield();
            OK(pthread_cancel(thread));
            join_canceled(thread);
            /* The mutex of a condition is held while handlers run, and free after. */
            int condition_too = all[i].wait == wait_condition || all[i].wait == wait_condition_timed;
            CHECK(strcmp(trace_of, condition_too ? "uc" : "c") == 0);
            OK(pthread_mutex_trylock(&mutex));
            OK(pthread_mutex_unlock(&mutex));
        }
        PASS(all[i].name);
    }
    CHECK(sem_post(&never) == 0);
    OK(pthread_join(joined, NULL));
    close(ends[0]);
    close(ends[1]);
}

/* --- when it acts, and when not --- */

static void *cancels_itself(void *unused) {
    OK(pthread_cancel(pthread_self()));
    strcpy(trace_of, "still there");
    pthread_testcancel();
    strcpy(trace_of, "not obeyed");
    return unused;
}

static void *disables(void *unused) {
    int state, type;
    OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state));
    CHECK(state == PTHREAD_CANCEL_ENABLE);
    OK(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type));
    CHECK(type == PTHREAD_CANCEL_DEFERRED);
    CHECK(pthread_setcancelstate(7, NULL) == EINVAL);
    OK(sem_post(&ready));
    /* Cancelled here, and the wait goes on. */
    while (sem_wait(&never) != 0) CHECK(errno == EINTR);
    pthread_testcancel();
    usleep(1);
    strcpy(trace_of, "disabled");
    OK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state));
    CHECK(state == PTHREAD_CANCEL_DISABLE);
    pthread_testcancel();
    strcpy(trace_of, "not obeyed");
    return unused;
}

static void *returns(void *unused) {
    return unused;
}

static void *locks(void *unused) {
    OK(sem_post(&ready));
    OK(pthread_mutex_lock(&mutex));
    strcpy(trace_of, "locked");
    OK(pthread_mutex_unlock(&mutex));
    pthread_testcancel();
    return unused;
}

static void *reads_much(void *unused) {
    char byte;
    OK(sem_post(&ready));
    /* Never has to wait, and is cancelled all the same. */
    for (;;) {
        CHECK(write(ends[1], "x", 1) == 1);
        CHECK(read(ends[0], &byte, 1) == 1);
    }
    return unused;
}

static void *asynchronous(void *unused) {
    OK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL));
    OK(pthread_cancel(pthread_self()));
    strcpy(trace_of, "not obeyed");
    return unused;
}

static void *naps(void *unused) {
    for (;;) usleep(100);
    return unused;
}

static void test_when(void) {
    pthread_t thread;
    void *result;

    OK(pthread_create(&thread, NULL, cancels_itself, NULL));
    join_canceled(thread);
    CHECK(strcmp(trace_of, "still there") == 0);
    PASS("of oneself, at the next point");

    OK(pthread_create(&thread, NULL, disables, NULL));
    CHECK(sem_wait(&ready) == 0);
    OK(pthread_cancel(thread));
    OK(sem_post(&never));
    join_canceled(thread);
    CHECK(strcmp(trace_of, "disabled") == 0);
    PASS("disabled, then enabled");

    OK(pthread_create(&thread, NULL, returns, &key));
    while (pthread_tryjoin_np(thread, &result) == EBUSY) sched_yield();
    CHECK(result == &key);
    PASS("of one that has ended is not needed");

    OK(pthread_mutex_lock(&mutex));
    OK(pthread_create(&thread, NULL, locks, NULL));
    CHECK(sem_wait(&ready) == 0);
    OK(pthread_cancel(thread));
    for (int turn = 0; turn < 10; turn++) sched_yield();
    OK(pthread_mutex_unlock(&mutex));
    join_canceled(thread);
    CHECK(strcmp(trace_of, "locked") == 0);
    PASS("a mutex is no cancellation point");

    CHECK(pipe(ends) == 0);
    OK(pthread_create(&thread, NULL, reads_much, NULL));
    CHECK(sem_wait(&ready) == 0);
    OK(pthread_cancel(thread));
    join_canceled(thread);
    PASS("calls that need not wait are points too");

    strcpy(trace_of, "at once");
    OK(pthread_create(&thread, NULL, asynchronous, NULL));
    join_canceled(thread);
    CHECK(strcmp(trace_of, "at once") == 0);
    PASS("asynchronous, of oneself");

    /* Before they have begun, some of them; and at any other moment. */
    pthread_t many[MANY];
    for (int i = 0; i < MANY; i++) {
        OK(pthread_create(&many[i], NULL, naps, NULL));
        if (i % 2) OK(pthread_cancel(many[i]));
    }
    for (int i = 0; i < MANY; i += 2) OK(pthread_cancel(many[i]));
    for (int i = 0; i < MANY; i++) join_canceled(many[i]);
    PASS("many at once");
}

/* --- the main thread ends before the others --- */

static void main_is_done(void *text) {
    puts(text);
    fflush(stdout);
    CHECK(sem_post(&ready) == 0);
}

static void *last(void *unused) {
    (void)unused;
    CHECK(sem_wait(&ready) == 0);
    PASS("main has exited");
    return NULL;
}

int main(void) {
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&never, 0, 0) == 0);
    test_exit();
    test_waits();
    test_when();
    pthread_t thread;
    OK(pthread_create(&thread, NULL, last, NULL));
    OK(pthread_detach(thread));
    pthread_cleanup_push(main_is_done, "PASS main's handler");
    pthread_exit(NULL);
    pthread_cleanup_pop(0);
}
