/* What a new thread has from its creator and from the program: its floating-point environment, the stack that was set
 * as the default, all thread-locals however large. And how its end is waited for with a limit in the past. */
#define _GNU_SOURCE
#include <pthread.h>
#include <time.h>
#include <xmmintrin.h>

#include "check.h"

static _Thread_local char large[200 * 1000];
static _Thread_local int small = 5;

static void *uses_thread_locals(void *argument) {
    memset(large, 1, sizeof large);
    CHECK(small == 5 && large[sizeof large - 1] == 1);
    small = 6;
    return argument;
}

static void thread_locals(void) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) OK(pthread_create(&threads[i], NULL, uses_thread_locals, NULL));
    for (int i = 0; i < 8; i++) OK(pthread_join(threads[i], NULL));
    PASS("thread-locals");
}

enum { FLAGS = 0x3f, ROUNDS_UP = 0x4000, FLUSHES_TO_ZERO = 0x8040, X87_ROUNDS_UP = 0x800 };

static void *rounds_as(void *argument) {
    unsigned *words = argument;
    unsigned short control;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    words[0] = _mm_getcsr() & ~FLAGS;
    words[1] = control;
    return NULL;
}

static void round_as(const unsigned *words) {
    unsigned short control = (unsigned short)words[1];
    _mm_setcsr(words[0]);
    __asm__ volatile("fldcw %0" : : "m"(control));
}

static void floating_point(void) {
    unsigned usual[2], mine[2], theirs[2];
    rounds_as(usual);
    mine[0] = usual[0] | ROUNDS_UP | FLUSHES_TO_ZERO;
    mine[1] = usual[1] | X87_ROUNDS_UP;
    const unsigned *all[] = {mine, mine, usual};
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        round_as(all[i]);
        OK(pthread_create(&thread, NULL, rounds_as, theirs));
        OK(pthread_join(thread, NULL));
        CHECK(theirs[0] == all[i][0] && theirs[1] == all[i][1]);
    }
    PASS("floating point");
}

static int digs(int depth) {
    volatile char room[4096];
    memset((void *)room, depth, sizeof room);
    return depth == 0 ? room[0] : digs(depth - 1) + room[1] - room[2];
}

static void *digs_deep(void *argument) {
    CHECK(digs(10 * 1000) == 0);
    return argument;
}

static void default_stack(void) {
    pthread_attr_t attributes;
    OK(pthread_attr_init(&attributes));
    OK(pthread_attr_setstacksize(&attributes, 64 << 20));
    OK(pthread_setattr_default_np(&attributes));
    pthread_t thread;
    OK(pthread_create(&thread, NULL, digs_deep, NULL));
    OK(pthread_join(thread, NULL));
    PASS("default stack");
}

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void *waits(void *argument) {
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    return argument;
}

static void late_limit(void) {
    pthread_t thread;
    OK(pthread_mutex_lock(&held));
    OK(pthread_create(&thread, NULL, waits, NULL));
    struct timespec past = {.tv_sec = -1, .tv_nsec = 0};
    CHECK(pthread_timedjoin_np(thread, NULL, &past) == ETIMEDOUT);
    OK(pthread_mutex_unlock(&held));
    OK(pthread_join(thread, NULL));
    PASS("a limit in the past");
}

int main(void) {
    thread_locals();
    floating_point();
    default_stack();
    late_limit();
    return 0;
}
