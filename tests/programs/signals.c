/* The signal calls of BSD. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "check.h"

static _Thread_local volatile int handled;

static void count(int signal) {
    (void)signal;
    handled++;
}

/* BSD's, which headers hide behind POSIX's. */
extern int pause_under(int mask) __asm__("sigpause");

/* No header has this one any more, but libc has it for old programs. */
struct vector {
    void (*handler)(int);
    int mask, flags;
};

extern int set_vector(int signal, const struct vector *new, struct vector *old);
__asm__(".symver set_vector, sigvec@GLIBC_2.2.5");

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static void *bsd(void *unused) {
    int own = 1 << (SIGUSR1 - 1), other = 1 << (SIGUSR2 - 1);
    handled = 0;
    CHECK(sigsetmask(other) == 0);
    CHECK(sigblock(own) == other && siggetmask() == (own | other));
    CHECK(raise(SIGUSR1) == 0 && handled == 0);
    CHECK(sigpause(SIGUSR1) == -1 && errno == EINTR && handled == 1);
    CHECK(siggetmask() == (own | other));
    CHECK(raise(SIGUSR1) == 0 && handled == 1);
    CHECK(pause_under(other) == -1 && errno == EINTR && handled == 2);
    CHECK(siggetmask() == (own | other));
    CHECK(raise(SIGUSR1) == 0 && handled == 2);
    CHECK(sigsetmask(0) == (own | other) && handled == 3);
    struct vector new = {.handler = count, .mask = other, .flags = 4}, old;
    CHECK(set_vector(SIGUSR2, &new, NULL) == 0 && set_vector(SIGUSR2, NULL, &old) == 0);
    CHECK(old.handler == count && old.mask == other && old.flags == 4);
    CHECK(raise(SIGUSR2) == 0 && handled == 4);
    CHECK(set_vector(SIGUSR2, NULL, &old) == 0 && old.handler == SIG_DFL);
    return unused;
}

int main(void) {
    struct sigaction action = {.sa_handler = count};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    pthread_t thread;
    sigset_t mask;
    /* Before glibc 2.32 the kernel's words are filled in, and all are looked at. */
    sigemptyset(&mask);
    OK(pthread_create(&thread, NULL, bsd, NULL));
    OK(pthread_join(thread, NULL));
    /* The masks were that thread's. */
    OK(pthread_sigmask(SIG_BLOCK, NULL, &mask));
    CHECK(sigisemptyset(&mask));
    PASS("BSD's calls");
}
