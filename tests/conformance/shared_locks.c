/* Locks that processes share know their owner, and what becomes of them when he dies: read-write locks,
 * robust and priority-inheriting mutexes, held by main, by a thread, and from before there were threads. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../programs/check.h"

struct shared {
    pthread_rwlock_t lock;
    pthread_mutex_t robust, early, inheriting;
};

static struct shared *shared;

static void make(pthread_mutex_t *mutex, int robust, int inherits) {
    pthread_mutexattr_t attributes;
    OK(pthread_mutexattr_init(&attributes));
    OK(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    if (robust) OK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    if (inherits) OK(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    OK(pthread_mutex_init(mutex, &attributes));
    OK(pthread_mutexattr_destroy(&attributes));
}

static void on_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    OK(pthread_create(&thread, NULL, body, argument));
    OK(pthread_join(thread, NULL));
}

static void *nothing(void *argument) {
    return argument;
}

/* Runs `body` in a child, until the child says that it is done and while it lives on. */
struct child {
    pid_t process;
    int says, told;
};

static struct child begin(void (*body)(void)) {
    int out[2], in[2];
    CHECK(pipe(out) == 0 && pipe(in) == 0);
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0) {
        CHECK(close(out[0]) == 0 && close(in[1]) == 0);
        body();
        char byte = 'x';
        CHECK(write(out[1], &byte, 1) == 1);
        CHECK(read(in[0], &byte, 1) == 0);
        _exit(0);
    }
    CHECK(close(out[1]) == 0 && close(in[0]) == 0);
    char byte;
    CHECK(read(out[0], &byte, 1) == 1);
    return (struct child){process, out[0], in[1]};
}

static void finish(struct child child) {
    int status;
    CHECK(kill(child.process, SIGKILL) == 0);
    CHECK(waitpid(child.process, &status, 0) == child.process && WIFSIGNALED(status));
    CHECK(close(child.says) == 0 && close(child.told) == 0);
}

/* --- who the writer is --- */

static void *writes(void *argument) {
    OK(pthread_rwlock_wrlock(&shared->lock));
    CHECK(pthread_rwlock_wrlock(&shared->lock) == EDEADLK);
    OK(pthread_rwlock_unlock(&shared->lock));
    OK(pthread_rwlock_trywrlock(&shared->lock));
    CHECK(pthread_rwlock_rdlock(&shared->lock) == EDEADLK);
    return argument;
}

static void writes_in_main(void) {
    on_thread(nothing, NULL);
    writes(NULL);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *writes_and_stays(void *argument) {
    writes(argument);
    OK(pthread_mutex_unlock(&gate));
    for (;;) pause();
}

static void writes_in_thread(void) {
    pthread_t thread;
    OK(pthread_mutex_lock(&gate));
    OK(pthread_create(&thread, NULL, writes_and_stays, NULL));
    OK(pthread_mutex_lock(&gate));
}

static void *meets_a_writer(void *argument) {
    struct timespec soon;
    CHECK(clock_gettime(CLOCK_REALTIME, &soon) == 0);
    soon.tv_nsec = (soon.tv_nsec + 1000000) % 1000000000;
    CHECK(pthread_rwlock_tryrdlock(&shared->lock) == EBUSY);
    CHECK(pthread_rwlock_trywrlock(&shared->lock) == EBUSY);
    CHECK(pthread_rwlock_timedwrlock(&shared->lock, &soon) == ETIMEDOUT);
    CHECK(pthread_rwlock_timedrdlock(&shared->lock, &soon) == ETIMEDOUT);
    return argument;
}

static void remake_lock(void) {
    pthread_rwlockattr_t attributes;
    OK(pthread_rwlockattr_init(&attributes));
    OK(pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    OK(pthread_rwlock_init(&shared->lock, &attributes));
}

static void read_write_locks(void) {
    void (*bodies[])(void) = {writes_in_main, writes_in_thread};
    for (int i = 0; i < 2; i++) {
        remake_lock();
        struct child child = begin(bodies[i]);
        meets_a_writer(NULL);
        on_thread(meets_a_writer, NULL);
        finish(child);
    }
    remake_lock();
    writes(NULL);
    OK(pthread_rwlock_unlock(&shared->lock));
    on_thread(writes, NULL);
    remake_lock();
    PASS("a writer is not taken for another process's");
}

/* --- owners who die --- */

static void *takes_robust(void *argument) {
    OK(pthread_mutex_lock(&shared->robust));
    return argument;
}

static void robust_in_main(void) {
    on_thread(nothing, NULL);
    takes_robust(NULL);
}

static void robust_before_threads(void) {
    OK(pthread_mutex_lock(&shared->early));
    takes_robust(NULL);
    on_thread(nothing, NULL);
    OK(pthread_mutex_unlock(&shared->early));
    OK(pthread_mutex_lock(&shared->early));
}

static void *takes_robust_and_stays(void *argument) {
    takes_robust(argument);
    OK(pthread_mutex_unlock(&gate));
    for (;;) pause();
}

static void robust_in_thread(void) {
    pthread_t thread;
    OK(pthread_mutex_lock(&gate));
    OK(pthread_create(&thread, NULL, takes_robust_and_stays, NULL));
    OK(pthread_mutex_lock(&gate));
}

static void inherits_death(pthread_mutex_t *mutex) {
    CHECK(pthread_mutex_lock(mutex) == EOWNERDEAD);
    OK(pthread_mutex_consistent(mutex));
    OK(pthread_mutex_unlock(mutex));
}

static void robust_mutexes(void) {
    void (*bodies[])(void) = {robust_in_main, robust_before_threads, robust_in_thread};
    for (int i = 0; i < 3; i++) {
        struct child child = begin(bodies[i]);
        CHECK(pthread_mutex_trylock(&shared->robust) == EBUSY);
        finish(child);
        inherits_death(&shared->robust);
        if (bodies[i] == robust_before_threads) inherits_death(&shared->early);
    }
    PASS("a robust mutex tells of its owner's death");
}

/* --- priority inheritance: the kernel must know the owner --- */

static int held_at_once;

static void *counts(void *argument) {
    for (int i = 0; i < 200; i++) {
        OK(pthread_mutex_lock(&shared->inheriting));
        CHECK(held_at_once++ == 0);
        sched_yield();
        held_at_once--;
        OK(pthread_mutex_unlock(&shared->inheriting));
    }
    return argument;
}

static void inheriting_mutexes(void) {
    pthread_t thread;
    OK(pthread_create(&thread, NULL, counts, NULL));
    counts(NULL);
    OK(pthread_join(thread, NULL));
    PASS("main and a thread exclude each other by priority inheritance");
}

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    make(&shared->robust, 1, 0);
    make(&shared->early, 1, 0);
    make(&shared->inheriting, 0, 1);
    robust_mutexes();
    read_write_locks();
    robust_mutexes();
    inheriting_mutexes();
    return 0;
}
