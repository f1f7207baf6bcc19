/* A handler that runs for a thread in a wait ends the wait, at whatever moment the signal comes: thousands of times, as
 * there is a moment in which only few do. */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include "../programs/check.h"

enum { THREADS = 8, ROUNDS = 500 };

static _Thread_local volatile sig_atomic_t handled;
static sem_t ready, seen;

static void handler(int signal) {
    (void)signal;
    handled++;
}

/* Its signal is blocked but while it waits. */
static void *suspends(void *unused) {
    sigset_t blocked, open;
    CHECK(sigemptyset(&blocked) == 0 && sigaddset(&blocked, SIGUSR1) == 0);
    OK(pthread_sigmask(SIG_BLOCK, &blocked, &open));
    for (int round = 1; round <= ROUNDS; round++) {
        CHECK(sem_post(&ready) == 0);
        while (handled < round) CHECK(sigsuspend(&open) == -1 && errno == EINTR);
        CHECK(handled == round);
        CHECK(sem_post(&seen) == 0);
    }
    return unused;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    pthread_t threads[THREADS];
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&seen, 0, 0) == 0);
    for (int i = 0; i < THREADS; i++) OK(pthread_create(&threads[i], NULL, suspends, NULL));
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < THREADS; i++) CHECK(sem_wait(&ready) == 0);
        for (int i = 0; i < THREADS; i++) OK(pthread_kill(threads[i], SIGUSR1));
        for (int i = 0; i < THREADS; i++) CHECK(sem_wait(&seen) == 0);
    }
    for (int i = 0; i < THREADS; i++) OK(pthread_join(threads[i], NULL));
    PASS("signals to waits");
    return 0;
}
