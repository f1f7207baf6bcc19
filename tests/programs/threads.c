/* Threads of the POSIX kind, without any trick: a line "PASS theme" for each theme that held, exit status 0 if all did.
 * Nothing here depends on timing but that a time limit of a lock is not reached too early. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 1000, FEW = 50, ROUNDS = 100 };

/* Starts `count` threads that run `body` with their number, and joins them. Returns the sum of their results. */
static intptr_t run(int count, void *(*body)(void *)) {
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    intptr_t sum = 0;
    CHECK(threads != NULL);
    for (int i = 0; i < count; i++) OK(pthread_create(&threads[i], NULL, body, (void *)(intptr_t)i));
    for (int i = 0; i < count; i++) {
        void *result;
        OK(pthread_join(threads[i], &result));
        sum += (intptr_t)result;
    }
    free(threads);
    return sum;
}

static struct timespec after_ms(clockid_t clock, long ms) {
    struct timespec at;
    CHECK(clock_gettime(clock, &at) == 0);
    at.tv_nsec += ms * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

static int is_past(clockid_t clock, struct timespec at) {
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    return now.tv_sec > at.tv_sec || (now.tv_sec == at.tv_sec && now.tv_nsec >= at.tv_nsec);
}

/* Its address is what a thread gets and gives back. */
static int token;

/* --- create, join, exit, detach, self, names --- */

static void *number(void *argument) {
    CHECK(pthread_equal(pthread_self(), pthread_self()));
    if ((intptr_t)argument % 2) pthread_exit(argument);
    return argument;
}

static sem_t detached_ended;

static void *detached(void *argument) {
    (void)argument;
    CHECK(sem_post(&detached_ended) == 0);
    return NULL;
}

static void *named(void *argument) {
    char name[16], read[16];
    snprintf(name, sizeof name, "worker %d", (int)(intptr_t)argument);
    OK(pthread_setname_np(pthread_self(), name));
    sched_yield();
    OK(pthread_getname_np(pthread_self(), read, sizeof read));
    CHECK(strcmp(name, read) == 0);
    return NULL;
}

static void *deep(void *argument) {
    volatile char frame[1 << 20];
    frame[0] = 1;
    frame[sizeof frame - 1] = 1;
    pthread_attr_t attr;
    void *stack;
    size_t size;
    OK(pthread_getattr_np(pthread_self(), &attr));
    OK(pthread_attr_getstack(&attr, &stack, &size));
    OK(pthread_attr_destroy(&attr));
    CHECK((char *)frame >= (char *)stack && (char *)frame < (char *)stack + size);
    CHECK(size >= 2 << 20);
    return argument;
}

static void threads_begin_and_end(void) {
    CHECK(run(THREADS, number) == (intptr_t)THREADS * (THREADS - 1) / 2);
    run(FEW, named);

    CHECK(sem_init(&detached_ended, 0, 0) == 0);
    pthread_attr_t attr;
    OK(pthread_attr_init(&attr));
    OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
    for (int i = 0; i < FEW; i++) {
        pthread_t thread;
        OK(pthread_create(&thread, &attr, detached, NULL));
        OK(pthread_create(&thread, NULL, detached, NULL));
        OK(pthread_detach(thread));
    }
    for (int i = 0; i < 2 * FEW; i++) CHECK(sem_wait(&detached_ended) == 0);

    OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_JOINABLE));
    OK(pthread_attr_setstacksize(&attr, 2 << 20));
    pthread_t thread;
    void *result;
    OK(pthread_create(&thread, &attr, deep, &token));
    OK(pthread_join(thread, &result));
    CHECK(result == &token);
    OK(pthread_attr_destroy(&attr));
    PASS("create join detach");
}

static sem_t may_end;

static void *waits_to_end(void *argument) {
    CHECK(sem_wait(&may_end) == 0);
    return argument;
}

static void joins_that_do_not_wait(void) {
    pthread_t thread;
    void *result;
    CHECK(sem_init(&may_end, 0, 0) == 0);
    OK(pthread_create(&thread, NULL, waits_to_end, &token));
    CHECK(pthread_tryjoin_np(thread, &result) == EBUSY);
    struct timespec at = after_ms(CLOCK_REALTIME, 20);
    CHECK(pthread_timedjoin_np(thread, &result, &at) == ETIMEDOUT);
    CHECK(is_past(CLOCK_REALTIME, at));
    CHECK(sem_post(&may_end) == 0);
    at = after_ms(CLOCK_REALTIME, 100000);
    OK(pthread_timedjoin_np(thread, &result, &at));
    CHECK(result == &token);
    CHECK(pthread_join(pthread_self(), NULL) == EDEADLK);
    PASS("tryjoin timedjoin");
}

/* --- mutexes --- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive, checking;
static long counter, shadow;

static void *count_locked(void *argument) {
    for (int i = 0; i < ROUNDS; i++) {
        OK(pthread_mutex_lock(&mutex));
        counter++;
        if ((i + (intptr_t)argument) % 32 == 0) sched_yield();
        shadow++;
        CHECK(counter == shadow);
        OK(pthread_mutex_unlock(&mutex));
    }
    return NULL;
}

static void *count_recursive(void *argument) {
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        OK(pthread_mutex_lock(&recursive));
        OK(pthread_mutex_lock(&recursive));
        counter++;
        if (i % 32 == 0) sched_yield();
        OK(pthread_mutex_unlock(&recursive));
        shadow++;
        CHECK(counter == shadow);
        OK(pthread_mutex_unlock(&recursive));
    }
    return NULL;
}

static void *finds_it_held(void *argument) {
    (void)argument;
    CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
    struct timespec at = after_ms(CLOCK_REALTIME, 20);
    CHECK(pthread_mutex_timedlock(&mutex, &at) == ETIMEDOUT);
    CHECK(is_past(CLOCK_REALTIME, at));
    at = after_ms(CLOCK_MONOTONIC, 20);
    CHECK(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &at) == ETIMEDOUT);
    CHECK(is_past(CLOCK_MONOTONIC, at));
    CHECK(pthread_mutex_trylock(&recursive) == EBUSY);
    CHECK(pthread_mutex_unlock(&checking) == EPERM);
    return NULL;
}

static void mutexes(void) {
    pthread_mutexattr_t attr;
    OK(pthread_mutexattr_init(&attr));
    OK(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE));
    OK(pthread_mutex_init(&recursive, &attr));
    OK(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK));
    OK(pthread_mutex_init(&checking, &attr));
    OK(pthread_mutexattr_destroy(&attr));

    run(THREADS, count_locked);
    CHECK(counter == (long)THREADS * ROUNDS);
    counter = shadow = 0;
    run(FEW, count_recursive);
    CHECK(counter == (long)FEW * ROUNDS);

    OK(pthread_mutex_lock(&mutex));
    OK(pthread_mutex_lock(&recursive));
    OK(pthread_mutex_lock(&checking));
    CHECK(pthread_mutex_lock(&checking) == EDEADLK);
    run(FEW, finds_it_held);
    OK(pthread_mutex_unlock(&checking));
    OK(pthread_mutex_unlock(&recursive));
    OK(pthread_mutex_unlock(&mutex));
    PASS("mutex");
}

/* --- condition variables --- */

static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int waiting, open_now;

static void *wait_until_open(void *argument) {
    OK(pthread_mutex_lock(&mutex));
    waiting++;
    OK(pthread_cond_broadcast(&changed));
    while (!open_now) OK(pthread_cond_wait(&changed, &mutex));
    OK(pthread_mutex_unlock(&mutex));
    return argument;
}

static void *open_when_all_wait(void *argument) {
    (void)argument;
    OK(pthread_mutex_lock(&mutex));
    while (waiting < THREADS) OK(pthread_cond_wait(&changed, &mutex));
    open_now = 1;
    OK(pthread_cond_broadcast(&changed));
    OK(pthread_mutex_unlock(&mutex));
    return NULL;
}

enum { ROOM = 4 };
static int buffer[ROOM], filled;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;

/* Even threads put, odd ones take; the sum of what was taken is the result. */
static void *put_or_take(void *argument) {
    intptr_t sum = 0;
    for (int i = 0; i < ROUNDS; i++) {
        OK(pthread_mutex_lock(&mutex));
        if ((intptr_t)argument % 2 == 0) {
            while (filled == ROOM) OK(pthread_cond_wait(&not_full, &mutex));
            buffer[filled++] = i;
            OK(pthread_cond_signal(&not_empty));
        } else {
            while (filled == 0) OK(pthread_cond_wait(&not_empty, &mutex));
            sum += buffer[--filled];
            OK(pthread_cond_signal(&not_full));
        }
        OK(pthread_mutex_unlock(&mutex));
    }
    return (void *)sum;
}

static void *waits_in_vain(void *argument) {
    pthread_cond_t never, monotonic;
    pthread_condattr_t attr;
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    OK(pthread_cond_init(&never, NULL));
    OK(pthread_condattr_init(&attr));
    OK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    OK(pthread_cond_init(&monotonic, &attr));
    OK(pthread_mutex_lock(&own));
    struct timespec at = after_ms(CLOCK_REALTIME, 20);
    int result;
    while ((result = pthread_cond_timedwait(&never, &own, &at)) == 0) {}
    CHECK(result == ETIMEDOUT && is_past(CLOCK_REALTIME, at));
    at = after_ms(CLOCK_MONOTONIC, 20);
    while ((result = pthread_cond_timedwait(&monotonic, &own, &at)) == 0) {}
    CHECK(result == ETIMEDOUT && is_past(CLOCK_MONOTONIC, at));
    at = after_ms(CLOCK_MONOTONIC, 20);
    while ((result = pthread_cond_clockwait(&never, &own, CLOCK_MONOTONIC, &at)) == 0) {}
    CHECK(result == ETIMEDOUT && is_past(CLOCK_MONOTONIC, at));
    /* The mutex is held again after each wait. */
    CHECK(pthread_mutex_trylock(&own) == EBUSY);
    OK(pthread_mutex_unlock(&own));
    OK(pthread_cond_destroy(&never));
    OK(pthread_cond_destroy(&monotonic));
    return argument;
}

static void conditions(void) {
    pthread_t opener;
    OK(pthread_create(&opener, NULL, open_when_all_wait, NULL));
    run(THREADS, wait_until_open);
    OK(pthread_join(opener, NULL));
    CHECK(run(FEW, put_or_take) == (intptr_t)(FEW / 2) * ROUNDS * (ROUNDS - 1) / 2);
    CHECK(filled == 0);
    run(FEW, waits_in_vain);
    PASS("cond");
}

/* --- readers and writers, barriers, semaphores --- */

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static atomic_int inside, serial;

static void *read_or_write(void *argument) {
    for (int i = 0; i < ROUNDS; i++) {
        if ((i + (intptr_t)argument) % 8 == 0) {
            OK(pthread_rwlock_wrlock(&rwlock));
            counter++;
            sched_yield();
            shadow++;
        } else {
            OK(pthread_rwlock_rdlock(&rwlock));
            CHECK(counter == shadow);
        }
        OK(pthread_rwlock_unlock(&rwlock));
    }
    return NULL;
}

static void *reads_together(void *argument) {
    OK(pthread_rwlock_rdlock(&rwlock));
    int result = pthread_barrier_wait(&barrier);
    if (result == PTHREAD_BARRIER_SERIAL_THREAD) serial++;
    else OK(result);
    OK(pthread_rwlock_unlock(&rwlock));
    return argument;
}

static void *cannot_write(void *argument) {
    CHECK(pthread_rwlock_trywrlock(&rwlock) == EBUSY);
    struct timespec at = after_ms(CLOCK_REALTIME, 20);
    CHECK(pthread_rwlock_timedwrlock(&rwlock, &at) == ETIMEDOUT && is_past(CLOCK_REALTIME, at));
    OK(pthread_rwlock_tryrdlock(&rwlock));
    OK(pthread_rwlock_unlock(&rwlock));
    return argument;
}

static void *enter(void *argument) {
    for (int i = 0; i < ROUNDS; i++) {
        CHECK(sem_wait(&semaphore) == 0);
        CHECK(++inside <= 5);
        sched_yield();
        inside--;
        CHECK(sem_post(&semaphore) == 0);
    }
    return argument;
}

static void rwlocks_barriers_semaphores(void) {
    counter = shadow = 0;
    run(FEW, read_or_write);
    CHECK(counter == shadow && counter > 0);
    OK(pthread_barrier_init(&barrier, NULL, THREADS));
    run(THREADS, reads_together);
    CHECK(serial == 1);
    OK(pthread_barrier_destroy(&barrier));
    OK(pthread_rwlock_rdlock(&rwlock));
    run(FEW, cannot_write);
    OK(pthread_rwlock_unlock(&rwlock));
    PASS("rwlock barrier");

    CHECK(sem_init(&semaphore, 0, 5) == 0);
    run(FEW, enter);
    int value;
    CHECK(sem_getvalue(&semaphore, &value) == 0 && value == 5);
    for (int i = 0; i < 5; i++) CHECK(sem_trywait(&semaphore) == 0);
    CHECK(sem_trywait(&semaphore) == -1 && errno == EAGAIN);
    struct timespec at = after_ms(CLOCK_REALTIME, 20);
    CHECK(sem_timedwait(&semaphore, &at) == -1 && errno == ETIMEDOUT && is_past(CLOCK_REALTIME, at));
    CHECK(sem_destroy(&semaphore) == 0);
    PASS("semaphore");
}

/* --- what belongs to one thread --- */

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int initialised, destroyed;
static _Thread_local intptr_t mine, initial = 42;

static void initialise(void) {
    sched_yield();
    initialised++;
}

static void destroy(void *value) {
    /* Once more with another value, as POSIX allows: then for good. */
    if ((intptr_t)value % 2 == 0) OK(pthread_setspecific(key, (char *)value + 1));
    else destroyed++;
}

static void *own_things(void *argument) {
    OK(pthread_once(&once, initialise));
    CHECK(initialised == 1);
    CHECK(mine == 0 && initial == 42);
    CHECK(pthread_getspecific(key) == NULL);
    mine = (intptr_t)argument;
    initial = -mine;
    OK(pthread_setspecific(key, (void *)(2 * (mine + 1))));
    errno = (int)mine;
    for (int i = 0; i < 10; i++) {
        sched_yield();
        CHECK(errno == (int)(intptr_t)argument);
        CHECK(mine == (intptr_t)argument && initial == -mine);
        CHECK(pthread_getspecific(key) == (void *)(2 * (mine + 1)));
    }
    return NULL;
}

static void own(void) {
    OK(pthread_key_create(&key, destroy));
    run(THREADS, own_things);
    CHECK(destroyed == THREADS);
    run(THREADS, own_things);
    CHECK(destroyed == 2 * THREADS && initialised == 1);
    OK(pthread_key_delete(key));
    PASS("once keys thread-locals errno");
}

/* --- sleep, C11 threads --- */

static void *sleeps(void *argument) {
    struct timespec at = after_ms(CLOCK_MONOTONIC, 20);
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == 0);
    CHECK(is_past(CLOCK_MONOTONIC, at));
    at = after_ms(CLOCK_MONOTONIC, 10);
    CHECK(nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL) == 0);
    CHECK(is_past(CLOCK_MONOTONIC, at));
    at = after_ms(CLOCK_MONOTONIC, 5);
    CHECK(usleep(5000) == 0);
    CHECK(is_past(CLOCK_MONOTONIC, at));
    return argument;
}

static mtx_t standard_mutex;
static cnd_t standard_condition;
static int turn;

static int take_turn(void *argument) {
    int me = (int)(intptr_t)argument;
    CHECK(mtx_lock(&standard_mutex) == thrd_success);
    while (turn != me) CHECK(cnd_wait(&standard_condition, &standard_mutex) == thrd_success);
    turn++;
    CHECK(cnd_broadcast(&standard_condition) == thrd_success);
    CHECK(mtx_unlock(&standard_mutex) == thrd_success);
    thrd_yield();
    return me;
}

static void standard_threads(void) {
    thrd_t threads[FEW];
    CHECK(mtx_init(&standard_mutex, mtx_plain) == thrd_success);
    CHECK(cnd_init(&standard_condition) == thrd_success);
    for (int i = FEW - 1; i >= 0; i--)
        CHECK(thrd_create(&threads[i], take_turn, (void *)(intptr_t)i) == thrd_success);
    for (int i = 0; i < FEW; i++) {
        int result;
        CHECK(thrd_join(threads[i], &result) == thrd_success && result == i);
    }
    CHECK(turn == FEW);
    PASS("C11 threads");
}

int main(void) {
    threads_begin_and_end();
    joins_that_do_not_wait();
    mutexes();
    conditions();
    rwlocks_barriers_semaphores();
    own();
    run(THREADS, sleeps);
    PASS("sleep");
    standard_threads();
    return 0;
}
