// Does what its first argument says, for tests of what is told of it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int ends[2];
static volatile int about_to, done;

static void check(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void *reads(void *arg) {
    char byte;
    check(read(ends[0], &byte, 1) == 1, "read");
    return arg;
}

static void *locks(void *arg) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    return arg;
}

static void *sleeps(void *arg) {
    usleep(20000);
    return arg;
}

static pthread_t start(void *(*function)(void *), const char *name) {
    pthread_t thread;
    check(!pthread_create(&thread, 0, function, 0), "pthread_create");
    if (name) pthread_setname_np(thread, name);
    return thread;
}

// One of each kind of wait, with names.
static void waits(void) {
    check(!pipe(ends), "pipe");
    pthread_mutex_lock(&mutex);
    pthread_t threads[] = {start(reads, "reader"), start(locks, "locker"), start(sleeps, "\"slee\\per\"")};
    for (int i = 0; i < 10; i++) sched_yield(); // they wait now
    pthread_mutex_unlock(&mutex);
    check(write(ends[1], "x", 1) == 1, "write");
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    printf("%d\n", ends[0]);
}

static char path[] = "/tmp/timestop-lock-XXXXXX";

static void *waits_for_the_file(void *arg) {
    int file = open(path, O_RDWR);
    about_to = 1;
    check(!flock(file, LOCK_EX), "flock");
    close(file);
    return arg;
}

// A call that no hook knows, which lasts until another fiber has run.
static void stuck(void) {
    int file = mkstemp(path);
    check(!flock(file, LOCK_EX), "flock");
    pthread_t thread = start(waits_for_the_file, "stuck");
    while (!about_to) sched_yield();
    sched_yield();
    flock(file, LOCK_UN);
    pthread_join(thread, 0);
    unlink(path);
}

static void *computes(void *arg) {
    about_to = 1;
    while (!done) {}
    return arg;
}

__attribute__((noinline)) static void stop_computing(void) {
    done = 1;
}

// One that computes until another has run.
static void compute(void) {
    pthread_t thread = start(computes, "hog");
    while (!about_to) sched_yield();
    stop_computing();
    pthread_join(thread, 0);
}

// Stops for a debugger, with a value on its stack.
__attribute__((noinline)) static void stops(volatile int answer) {
    raise(SIGUSR1);
    answer++;
}

static void *stays(void *arg) {
    pthread_t threads[] = {start(reads, "reader"), start(locks, "locker")};
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
    return arg;
}

static long count;

static void *yields(void *arg) {
    for (long i = 0; i < count; i++) sched_yield();
    return arg;
}

static void yield(long times) {
    count = times;
    pthread_t one = start(yields, 0), other = start(yields, 0);
    pthread_join(one, 0);
    pthread_join(other, 0);
}

static void told(void) {
    char byte;
    puts("done");
    fflush(stdout);
    check(read(0, &byte, 1) >= 0, "read");
}

// Waits until it is told to end; with `forks` there is a child that does so too.
static void stay(int forks, int for_debugger) {
    int status;
    check(!pipe(ends), "pipe");
    check(waitpid(-1, &status, 0) == -1 && errno == ECHILD, "a child that is not ours");
    pthread_mutex_lock(&mutex);
    pid_t child = 0;
    if (forks) {
        start(sleeps, 0); // the runtime starts
        check((child = fork()) >= 0, "fork");
    }
    pthread_t thread = start(stays, "joiner");
    for (int i = 0; i < 10; i++) sched_yield(); // they wait now
    if (forks && !child) {
        struct pollfd hang_up = {.fd = 0}; // whoever started us has gone, and perhaps killed our parent
        poll(&hang_up, 1, -1);
        _exit(0);
    }
    if (for_debugger) stops(42);
    told();
    if (child) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    pthread_mutex_unlock(&mutex);
    check(write(ends[1], "x", 1) == 1, "write");
    pthread_join(thread, 0);
}

int main(int words, char **word) {
    if (words < 2) return 2;
    const char *what = word[1];
    if (!strcmp(what, "waits")) waits();
    if (!strcmp(what, "stay")) stay(0, 0);
    if (!strcmp(what, "stay-and-fork")) stay(1, 0);
    if (!strcmp(what, "stay-and-stop")) stay(0, 1);
    if (!strcmp(what, "stuck")) stuck();
    if (!strcmp(what, "compute")) compute();
    if (!strcmp(what, "yield")) yield(atol(word[2]));
    if (!strcmp(what, "yield-then-wait")) {
        yield(atol(word[2]));
        told();
    }
    if (!strcmp(what, "fork")) {
        waits();
        pid_t child = fork();
        if (!child) {
            waits();
            exit(0);
        }
        pid_t idle = fork();
        if (!idle) _exit(0);
        int status;
        check(waitpid(idle, &status, 0) == idle && !status, "waitpid");
        check(waitpid(child, &status, 0) == child && !status, "waitpid");
    }
    if (!strcmp(what, "exec")) {
        waits();
        fflush(stdout);
        execl(word[0], word[0], "waits", (char *)0);
        return 3;
    }
    if (!strcmp(what, "execv")) {
        waits();
        fflush(stdout);
        execv(word[0], (char *[]){word[0], "waits", 0});
        return 3;
    }
    if (words > 2 && !strcmp(word[2], "TERM")) {
        kill(getpid(), SIGTERM);
        pause();
    }
    if (words > 2 && !strcmp(word[2], "_exit")) _exit(0);
    return 0;
}
