/* Signal handlers at their worst: one for faults that waits while others fault and compute, one that ends its thread, one
 * that is taken away as soon as it has run. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum { PAGE = 4096, FAULTS = 300, EXITS = 5, ROUNDS = 3000 };

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    CHECK(sigaction(signal, &action, NULL) == 0);
    struct sigaction now;
    CHECK(sigaction(signal, NULL, &now) == 0);
    CHECK(now.sa_sigaction == handler && (now.sa_flags & flags) == flags);
}

static atomic_int stop;

static void *computes(void *argument) {
    for (volatile unsigned long count = 0; !atomic_load(&stop); count++) {}
    return argument;
}

static void opens_the_page(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    usleep(200);
    unsigned long page = (unsigned long)info->si_addr & ~(PAGE - 1UL);
    CHECK(mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE) == 0);
}

static void *faults(void *argument) {
    char *page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    for (int i = 0; i < FAULTS; i++) {
        *(volatile char *)page = 1;
        CHECK(mprotect(page, PAGE, PROT_NONE) == 0);
    }
    return argument;
}

static void faults_that_wait(int flags) {
    handle(SIGSEGV, opens_the_page, flags);
    pthread_t threads[10];
    for (int i = 0; i < 10; i++) {
        OK(pthread_create(&threads[i], NULL, i < 2 ? computes : faults, NULL));
    }
    for (int i = 2; i < 10; i++) OK(pthread_join(threads[i], NULL));
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) OK(pthread_join(threads[i], NULL));
    atomic_store(&stop, 0);
    CHECK(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
    PASS("faults");
}

static void ends_its_thread(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    pthread_exit((void *)7);
}

static atomic_int computing;

static void *computes_on(void *argument) {
    atomic_store(&computing, 1);
    for (volatile unsigned long count = 0;; count++) {}
    return argument;
}

static void exits(void) {
    handle(SIGUSR1, ends_its_thread, 0);
    for (int i = 0; i < EXITS; i++) {
        pthread_t thread;
        void *result = NULL;
        atomic_store(&computing, 0);
        OK(pthread_create(&thread, NULL, computes_on, NULL));
        while (!atomic_load(&computing)) usleep(100);
        OK(pthread_kill(thread, SIGUSR1));
        OK(pthread_join(thread, &result));
        CHECK(result == (void *)7);
    }
    PASS("exits");
}

static pthread_t main_thread;
static atomic_int turn, come;

static void comes(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    atomic_store(&come, 1);
}

static void *signals_main(void *argument) {
    for (int i = 1; i <= ROUNDS; i++) {
        while (atomic_load(&turn) < i) sched_yield();
        OK(pthread_kill(main_thread, SIGUSR2));
    }
    return argument;
}

static void taken_away(void) {
    main_thread = pthread_self();
    pthread_t thread;
    OK(pthread_create(&thread, NULL, signals_main, NULL));
    for (int i = 1; i <= ROUNDS; i++) {
        handle(SIGUSR2, comes, 0);
        atomic_store(&come, 0);
        atomic_store(&turn, i);
        while (!atomic_load(&come)) {
            if (i % 2 == 0) usleep(50);
        }
        CHECK(signal(SIGUSR2, SIG_DFL) != SIG_ERR);
    }
    OK(pthread_join(thread, NULL));
    PASS("taken away");
}

int main(void) {
    faults_that_wait(0);
    faults_that_wait(SA_ONSTACK);
    exits();
    taken_away();
    return 0;
}
