/* A thread traces the child that it has made, and one that it attaches to, whatever other threads do meanwhile. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../programs/check.h"

enum { TRACERS = 4, STOPS = 20 };

static volatile long treasure = 4711;
static int over;

/* Waits for the next stop, and lets others run before and after. */
static void wait_for_stop(pid_t child, int expected) {
    int status;
    sched_yield();
    CHECK(waitpid(child, &status, __WALL) == child);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == expected);
    usleep(100);
}

static long peek(pid_t child) {
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, child, &treasure, NULL);
    CHECK(errno == 0);
    return word;
}

static void ends(pid_t child, int expected) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == expected);
}

static void *traces_own(void *unused) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(1);
        for (int i = 0; i < STOPS; i++) {
            treasure++;
            raise(SIGSTOP);
        }
        _exit(treasure == 1 ? 42 : 2);
    }
    for (int i = 0; i < STOPS; i++) {
        wait_for_stop(child, SIGSTOP);
        if (i == 0) CHECK(ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)PTRACE_O_EXITKILL) == 0);
        CHECK(peek(child) == 4711 + i + 1);
        if (i == STOPS - 1) CHECK(ptrace(PTRACE_POKEDATA, child, &treasure, (void *)1) == 0);
        CHECK(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
    }
    ends(child, 42);
    return unused;
}

/* By number: who writes its own wrapper does so. */
static void *attaches(void *unused) {
    int pipes[2];
    char byte;
    CHECK(pipe(pipes) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(pipes[1]);
        _exit(read(pipes[0], &byte, 1) == 1 ? 7 : 3);
    }
    CHECK(syscall(SYS_ptrace, PTRACE_SEIZE, child, 0, PTRACE_O_EXITKILL) == 0);
    for (int i = 0; i < STOPS; i++) {
        CHECK(syscall(SYS_ptrace, PTRACE_INTERRUPT, child, 0, 0) == 0);
        wait_for_stop(child, SIGTRAP);
        CHECK(peek(child) == 4711);
        CHECK(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
    }
    CHECK(ptrace(PTRACE_INTERRUPT, child, NULL, NULL) == 0);
    wait_for_stop(child, SIGTRAP);
    CHECK(ptrace(PTRACE_DETACH, child, NULL, NULL) == 0);
    CHECK(write(pipes[1], "x", 1) == 1);
    ends(child, 7);
    close(pipes[0]);
    close(pipes[1]);
    return unused;
}

static void *runs_beside(void *unused) {
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) sched_yield();
    return unused;
}

static void test(const char *name, void *(*tracer)(void *)) {
    pthread_t tracers[TRACERS];
    for (int i = 0; i < TRACERS; i++) OK(pthread_create(&tracers[i], NULL, tracer, NULL));
    for (int i = 0; i < TRACERS; i++) OK(pthread_join(tracers[i], NULL));
    tracer(NULL);
    PASS(name);
}

int main(void) {
    pthread_t beside[3];
    for (int i = 0; i < 3; i++) OK(pthread_create(&beside[i], NULL, runs_beside, NULL));
    test("a child that asks for it", traces_own);
    test("a process that is attached to", attaches);
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++) OK(pthread_join(beside[i], NULL));
    return 0;
}
