/* A thread that has changed what the kernel knows of it waits for signals to the process as any other does: for one that
 * is there already, and for one that comes. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#include "../programs/check.h"

enum { ROUNDS = 100 };

static sem_t go, done;
static volatile sig_atomic_t handled;
static int epoll;

static void handler(int signal) {
    (void)signal;
    handled++;
}

static int by_sigsuspend(const sigset_t *open) {
    return sigsuspend(open);
}

static int by_ppoll(const sigset_t *open) {
    struct timespec time = {60, 0};
    return ppoll(NULL, 0, &time, open);
}

static int by_pselect(const sigset_t *open) {
    return pselect(0, NULL, NULL, NULL, NULL, open);
}

static int by_epoll(const sigset_t *open) {
    struct epoll_event event;
    return epoll_pwait(epoll, &event, 1, -1, open);
}

static int (*const waits[])(const sigset_t *) = {by_sigsuspend, by_ppoll, by_pselect, by_epoll};
static const char *const names[] = {"sigsuspend", "ppoll", "pselect", "epoll_pwait"};

static void wait_for(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0) CHECK(errno == EINTR);
}

static void bind_me(void) {
    cpu_set_t cpus;
    CHECK(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    CHECK(sched_setaffinity(0, sizeof cpus, &cpus) == 0);
}

static void *receives(void *wait) {
    sigset_t open, one;
    bind_me();
    OK(pthread_sigmask(SIG_BLOCK, NULL, &open));
    CHECK(sigismember(&open, SIGUSR1));
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    sigdelset(&open, SIGUSR1);
    for (int i = 0; i < ROUNDS; i++) {
        wait_for(&go);
        if (wait) {
            int before = handled;
            errno = 0;
            CHECK((*(int (*const *)(const sigset_t *))wait)(&open) == -1 && errno == EINTR);
            CHECK(handled == before + 1);
        } else {
            int signal = 0;
            struct timespec none = {0, 0};
            OK(sigwait(&one, &signal));
            CHECK(signal == SIGUSR1);
            errno = 0;
            CHECK(sigtimedwait(&one, NULL, &none) == -1 && errno == EAGAIN);
        }
        CHECK(sem_post(&done) == 0);
    }
    return NULL;
}

static void *nothing(void *unused) {
    return unused;
}

static void test(const char *name, const void *wait) {
    pthread_t receiver;
    OK(pthread_create(&receiver, NULL, receives, (void *)wait));
    for (int i = 0; i < ROUNDS; i++) {
        /* Before it waits, or about then. */
        if (i % 2) CHECK(kill(getpid(), SIGUSR1) == 0);
        CHECK(sem_post(&go) == 0);
        if (i % 4 == 2) usleep(1000);
        if (i % 2 == 0) CHECK(kill(getpid(), SIGUSR1) == 0);
        wait_for(&done);
    }
    OK(pthread_join(receiver, NULL));
    PASS(name);
}

int main(void) {
    pthread_t thread;
    sigset_t set;
    struct sigaction action = {.sa_handler = handler};
    CHECK(sem_init(&go, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
    CHECK((epoll = epoll_create1(0)) >= 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    OK(pthread_create(&thread, NULL, nothing, NULL));
    OK(pthread_join(thread, NULL));
    for (int i = 0; i < 4; i++) test(names[i], &waits[i]);
    test("sigwait", NULL);
    /* In main too, which others prefer for signals. */
    for (int i = 0; i < 4; i++) {
        bind_me();
        CHECK(kill(getpid(), SIGUSR1) == 0);
        sigset_t open;
        OK(pthread_sigmask(SIG_BLOCK, NULL, &open));
        sigdelset(&open, SIGUSR1);
        CHECK(waits[i](&open) == -1 && errno == EINTR);
    }
    PASS("in main");
    return 0;
}
