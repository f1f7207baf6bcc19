/* The child of a fork has one thread, and that has the process's number. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../programs/check.h"

static void *forks(void *name) {
    pid_t before = gettid();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(gettid() == getpid());
        CHECK(syscall(SYS_gettid) == getpid());
        CHECK(gettid() != before);
        _exit(0);
    }
    CHECK(gettid() == before);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    PASS((char *)name);
    return NULL;
}

int main(void) {
    pthread_t thread;
    OK(pthread_create(&thread, NULL, forks, "in a thread"));
    OK(pthread_join(thread, NULL));
    CHECK(gettid() == getpid());
    forks("in main");
    return 0;
}
