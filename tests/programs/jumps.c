/* Handlers that leave by siglongjmp: out of waits, out of computing code, again and again. What was waited for is used
 * by others at once, so that a waiter that is left in a list would be met. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { ROUNDS = 50 };

static _Thread_local sigjmp_buf back;
static _Thread_local volatile int in_handler;

static void jumps(int signal) {
    in_handler = signal;
    /* A jump within the handler leaves nothing. */
    sigjmp_buf here;
    if (sigsetjmp(here, 1) == 0) siglongjmp(here, 1);
    siglongjmp(back, 1);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore, ready, next, gone;
static int ends[2];
/* A fresh one each time, and neighbours of it. */
static pthread_barrier_t barriers[ROUNDS];
static volatile int barrier;

static void wait_condition(void) {
    /* Its mutex is left unlocked, or locked, as on any thread: a fresh one each time. */
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&own);
    for (;;) pthread_cond_wait(&condition, &own);
}

static void wait_semaphore(void) {
    for (;;) sem_wait(&semaphore);
}

static void wait_read(void) {
    char byte;
    for (;;) CHECK(read(ends[0], &byte, 1) != 0);
}

static void wait_poll(void) {
    struct pollfd record = {.fd = ends[0], .events = POLLIN};
    for (;;) poll(&record, 1, -1);
}

static void wait_sleep(void) {
    for (;;) sleep(1000);
}

static void wait_suspended(void) {
    sigset_t none;
    sigemptyset(&none);
    for (;;) sigsuspend(&none);
}

/* One of two comes, and jumps away. (It stays counted as having come.) */
static void wait_barrier(void) {
    for (;;) pthread_barrier_wait(&barriers[barrier]);
}

static void wait_computing(void) {
    for (volatile int i = 0;; i++) {}
}

/* Overwrites what a wait has left below. */
static void __attribute__((noinline)) trample(void) {
    volatile char below[4096];
    for (size_t i = 0; i < sizeof below; i++) below[i] = (char)0xa5;
}

/* Who holds a robust mutex stays on its OS thread, and waits there. */
static volatile int holds;

static void *left(void *how) {
    void (*wait)(void) = (void (*)(void))(size_t)how;
    sigset_t mask;
    pthread_mutexattr_t robust;
    static pthread_mutex_t held;
    OK(pthread_mutexattr_init(&robust));
    OK(pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST));
    OK(pthread_mutex_init(&held, &robust));
    if (holds) OK(pthread_mutex_lock(&held));
    for (volatile int round = 0; round < ROUNDS; round++) {
        if (sigsetjmp(back, 1) == 0) {
            CHECK(sem_post(&ready) == 0);
            wait();
            CHECK(!"reached");
        }
        trample();
        CHECK(sem_post(&gone) == 0);
        CHECK(in_handler == SIGUSR1);
        /* The mask is what it was, though the handler did not return. */
        OK(pthread_sigmask(SIG_BLOCK, NULL, &mask));
        CHECK(!sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGUSR2));
        while (sem_wait(&next) != 0) {}
    }
    if (holds) OK(pthread_mutex_unlock(&held));
    return NULL;
}

static void *meet_once(void *number) {
    return (void *)(size_t)pthread_barrier_wait(&barriers[(size_t)number]);
}

/* Whoever jumped away from the barrier has come; who comes next completes the round, and the next round is like any. */
static void meet(int round) {
    while (sem_wait(&gone) != 0) {}
    CHECK(pthread_barrier_wait(&barriers[round]) == PTHREAD_BARRIER_SERIAL_THREAD);
    for (int turn = 0; turn < 3; turn++) {
        pthread_t other;
        void *result;
        OK(pthread_create(&other, NULL, meet_once, (void *)(size_t)round));
        int own = pthread_barrier_wait(&barriers[round]);
        OK(pthread_join(other, &result));
        CHECK((own == 0) != (result == NULL));
    }
    barrier = round + 1;
}

static void test(const char *name, void (*wait)(void)) {
    pthread_t thread;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    OK(pthread_create(&thread, NULL, left, (void *)(size_t)wait));
    OK(pthread_mutex_lock(&mutex));
    for (int round = 0; round < ROUNDS; round++) {
        while (sem_wait(&ready) != 0) {}
        for (int turn = 0; turn < round % 8; turn++) sched_yield();
        /* Its first word counts who has come. */
        while (wait == wait_barrier && *(volatile unsigned *)&barriers[round] != 1) sched_yield();
        OK(pthread_kill(thread, SIGUSR1));
        /* Whoever is still in a list is met here. */
        OK(pthread_cond_broadcast(&condition));
        OK(pthread_mutex_unlock(&mutex));
        OK(pthread_mutex_lock(&mutex));
        if (wait == wait_barrier) meet(round);
        OK(sem_post(&next));
    }
    OK(pthread_join(thread, NULL));
    OK(pthread_cond_broadcast(&condition));
    OK(pthread_mutex_unlock(&mutex));
    PASS(name);
}

int main(void) {
    struct sigaction action = {.sa_handler = jumps};
    for (int i = 0; i < ROUNDS; i++) OK(pthread_barrier_init(&barriers[i], NULL, 2));
    CHECK(sem_init(&gone, 0, 0) == 0 && sem_init(&ready, 0, 0) == 0 && sem_init(&next, 0, 0) == 0 && sem_init(&semaphore, 0, 0) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    test("condition", wait_condition);
    test("semaphore", wait_semaphore);
    test("read", wait_read);
    test("poll", wait_poll);
    while (sem_trywait(&gone) == 0) {}
    test("barrier", wait_barrier);
    test("sleep", wait_sleep);
    test("sigsuspend", wait_suspended);
    test("computing", wait_computing);
    holds = 1;
    test("condition, on its OS thread", wait_condition);
    test("semaphore, on its OS thread", wait_semaphore);
    for (int i = 0; i < ROUNDS; i++) OK(pthread_barrier_init(&barriers[i], NULL, 2));
    barrier = 0;
    while (sem_trywait(&gone) == 0) {}
    test("barrier, on its OS thread", wait_barrier);
    /* Nothing was lost or left behind: what is sent is read, what is posted is taken. */
    char byte = 'x';
    CHECK(write(ends[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1);
    CHECK(sem_post(&semaphore) == 0 && sem_wait(&semaphore) == 0);
    PASS("all is whole");
}
