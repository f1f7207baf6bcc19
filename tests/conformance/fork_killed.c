/* A child of a fork ends by a signal whenever that comes, also one that its parent has blocked before. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../programs/check.h"

enum { CHILDREN = 300 };

static sem_t *never;

static void *nothing(void *argument) {
    return argument;
}

/* Says that it is there, lets others go first for a while, and waits for what never comes. */
static void live(int out, int turns) {
    char byte = 'x';
    if (write(out, &byte, 1) != 1) _exit(1);
    for (int i = 0; i < turns; i++) sched_yield();
    while (sem_wait(never) != 0) {}
    _exit(2);
}

static void *forks(void *name) {
    for (int i = 0; i < CHILDREN; i++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) live(ends[1], i * 10);
        char byte;
        int status;
        CHECK(read(ends[0], &byte, 1) == 1);
        CHECK(kill(child, SIGTERM) == 0);
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    }
    PASS((char *)name);
    return NULL;
}

int main(void) {
    never = mmap(NULL, sizeof *never, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(never != MAP_FAILED && sem_init(never, 1, 0) == 0);
    pthread_t thread;
    OK(pthread_create(&thread, NULL, nothing, NULL));
    OK(pthread_join(thread, NULL));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    forks("children of main");
    OK(pthread_create(&thread, NULL, forks, "children of a thread"));
    OK(pthread_join(thread, NULL));
    return 0;
}
