/* Children made while other threads are at work on what the child needs too, or by a thread that has the kernel's view
 * of itself changed. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { FORKS = 150 };

static atomic_int stop;

static void ignores(int signal) { (void)signal; }

static int change_action(int signal) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = ignores;
    return sigaction(signal, &action, NULL);
}

static void *changes_actions(void *argument) {
    while (!atomic_load(&stop)) CHECK(change_action(SIGUSR1) == 0);
    return argument;
}

static void ends_well(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

static void forks_amid_changes(void) {
    pthread_t thread;
    OK(pthread_create(&thread, NULL, changes_actions, NULL));
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(30);
            _exit(change_action(SIGUSR2) == 0 ? 0 : 1);
        }
        ends_well(child);
    }
    atomic_store(&stop, 1);
    OK(pthread_join(thread, NULL));
    PASS("forks amid changes");
}

static int ends[2];
static atomic_int reading;

static void *reads(void *argument) {
    char byte;
    atomic_store(&reading, 1);
    CHECK(read(ends[0], &byte, 1) == 1);
    return argument;
}

static void *affine_vforks(void *argument) {
    cpu_set_t all;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    pid_t child = vfork();
    if (child == 0) {
        close(ends[0]);
        close(ends[1]);
        _exit(0);
    }
    ends_well(child);
    return argument;
}

static void vfork_of_a_bound_thread(void) {
    CHECK(pipe(ends) == 0);
    pthread_t reader, forker;
    OK(pthread_create(&reader, NULL, reads, NULL));
    while (!atomic_load(&reading)) usleep(100);
    OK(pthread_create(&forker, NULL, affine_vforks, NULL));
    OK(pthread_join(forker, NULL));
    CHECK(write(ends[1], "x", 1) == 1);
    OK(pthread_join(reader, NULL));
    PASS("vfork of a bound thread");
}

/* An epoll that watches as many others in turn as the kernel allows. */
static void *waits_deep(void *argument) {
    enum { DEPTH = 5 };
    int epolls[DEPTH], inner[2];
    CHECK(pipe(inner) == 0);
    struct epoll_event event = {.events = EPOLLIN};
    for (int i = 0; i < DEPTH; i++) {
        epolls[i] = epoll_create1(0);
        CHECK(epoll_ctl(epolls[i], EPOLL_CTL_ADD, i ? epolls[i - 1] : inner[0], &event) == 0);
    }
    CHECK(epoll_wait(epolls[DEPTH - 1], &event, 1, 20) == 0);
    CHECK(write(inner[1], "x", 1) == 1);
    CHECK(epoll_wait(epolls[DEPTH - 1], &event, 1, 20000) == 1);
    return argument;
}

static void deep_epolls(void) {
    pthread_t thread;
    OK(pthread_create(&thread, NULL, waits_deep, NULL));
    OK(pthread_join(thread, NULL));
    PASS("deep epolls");
}

int main(void) {
    forks_amid_changes();
    vfork_of_a_bound_thread();
    deep_epolls();
    return 0;
}
