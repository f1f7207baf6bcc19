/* Processes and signals out of threads: fork, exec, wait, popen, system, pipes; handlers, masks, sigwait. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 20 };

extern char **environ;

static void run(void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) OK(pthread_create(&threads[i], NULL, body, (void *)i));
    for (int i = 0; i < THREADS; i++) OK(pthread_join(threads[i], NULL));
}

static int exit_status(pid_t child) {
    int status;
    pid_t waited;
    while ((waited = waitpid(child, &status, 0)) == -1 && errno == EINTR) {}
    CHECK(waited == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* --- children --- */

static void *forks(void *argument) {
    int number = (int)(intptr_t)argument, ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte = (char)number;
        _exit(write(ends[1], &byte, 1) == 1 ? number : 99);
    }
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1 && byte == (char)number);
    CHECK(exit_status(child) == number);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    return NULL;
}

static void *in_child(void *argument) {
    return argument;
}

/* POSIX does not promise it, glibc does: the child of a threaded program has threads again. */
static void *forks_and_threads(void *argument) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pthread_t thread;
        void *result;
        if (pthread_create(&thread, NULL, in_child, argument) != 0) _exit(98);
        if (pthread_join(thread, &result) != 0 || result != argument) _exit(97);
        _exit(7);
    }
    CHECK(exit_status(child) == 7);
    return NULL;
}

static void *executes(void *argument) {
    char script[64];
    snprintf(script, sizeof script, "exit %d", (int)(intptr_t)argument);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execlp("sh", "sh", "-c", script, (char *)NULL);
        _exit(99);
    }
    CHECK(exit_status(child) == (int)(intptr_t)argument);

    char *arguments[] = {"sh", "-c", script, NULL};
    OK(posix_spawnp(&child, "sh", NULL, NULL, arguments, environ));
    CHECK(exit_status(child) == (int)(intptr_t)argument);
    CHECK(posix_spawnp(&child, "/nothing-is-called-this", NULL, NULL, arguments, environ) == ENOENT);

    child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        execlp("sh", "sh", "-c", script, (char *)NULL);
        _exit(99);
    }
    CHECK(exit_status(child) == (int)(intptr_t)argument);
    return NULL;
}

static void *runs_shells(void *argument) {
    char command[64], line[64];
    int number = (int)(intptr_t)argument;
    snprintf(command, sizeof command, "exit %d", number);
    int status = system(command);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == number);

    snprintf(command, sizeof command, "echo line %d; exit 3", number);
    FILE *stream = popen(command, "r");
    CHECK(stream != NULL && fgets(line, sizeof line, stream) != NULL);
    snprintf(command, sizeof command, "line %d\n", number);
    CHECK(strcmp(line, command) == 0);
    status = pclose(stream);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    return NULL;
}

static void *kills(void *argument) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        for (;;) pause();
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG) == 0);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitid(P_PID, (id_t)child, &info, WEXITED) == 0);
    CHECK(info.si_pid == child && info.si_code == CLD_KILLED && info.si_status == SIGKILL);
    CHECK(waitpid(child, NULL, 0) == -1 && errno == ECHILD);
    return argument;
}

static int pipes[THREADS + 1][2];

/* Each thread passes on, one more, what the one before it wrote. */
static void *passes_on(void *argument) {
    intptr_t number = (intptr_t)argument;
    int value;
    while (read(pipes[number][0], &value, sizeof value) == sizeof value) {
        value++;
        CHECK(write(pipes[number + 1][1], &value, sizeof value) == sizeof value);
    }
    CHECK(close(pipes[number + 1][1]) == 0);
    return NULL;
}

static void pass_through_pipes(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i <= THREADS; i++) CHECK(pipe2(pipes[i], O_CLOEXEC) == 0);
    for (intptr_t i = 0; i < THREADS; i++) OK(pthread_create(&threads[i], NULL, passes_on, (void *)i));
    for (int round = 0; round < 100; round++) {
        int value = round;
        CHECK(write(pipes[0][1], &value, sizeof value) == sizeof value);
        CHECK(read(pipes[THREADS][0], &value, sizeof value) == sizeof value);
        CHECK(value == round + THREADS);
    }
    CHECK(close(pipes[0][1]) == 0);
    for (int i = 0; i < THREADS; i++) OK(pthread_join(threads[i], NULL));
    for (int i = 0; i <= THREADS; i++) CHECK(close(pipes[i][0]) == 0);
}

/* --- signals --- */

static _Thread_local volatile sig_atomic_t handled;
static _Thread_local pthread_t self;
static atomic_int wrong_thread;
static sem_t ready, signalled;

static void handler(int signal) {
    (void)signal;
    if (!pthread_equal(self, pthread_self())) wrong_thread = 1;
    handled++;
    int saved = errno;
    sem_post(&signalled);
    errno = saved;
}

/* Waits with its signal blocked but while it waits, as sigsuspend is for. */
static void *is_signalled(void *argument) {
    sigset_t blocked, before;
    self = pthread_self();
    CHECK(sigemptyset(&blocked) == 0 && sigaddset(&blocked, SIGUSR1) == 0);
    OK(pthread_sigmask(SIG_BLOCK, &blocked, &before));
    CHECK(sem_post(&ready) == 0);
    while (handled == 0) CHECK(sigsuspend(&before) == -1 && errno == EINTR);
    CHECK(handled == 1);
    OK(pthread_sigmask(SIG_SETMASK, &before, NULL));
    return argument;
}

static void signals_to_threads(void) {
    struct sigaction action = {.sa_handler = handler};
    pthread_t threads[THREADS];
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sem_init(&ready, 0, 0) == 0 && sem_init(&signalled, 0, 0) == 0);
    for (int i = 0; i < THREADS; i++) OK(pthread_create(&threads[i], NULL, is_signalled, NULL));
    for (int i = 0; i < THREADS; i++) CHECK(sem_wait(&ready) == 0);
    for (int i = 0; i < THREADS; i++) OK(pthread_kill(threads[i], SIGUSR1));
    for (int i = 0; i < THREADS; i++) CHECK(sem_wait(&signalled) == 0);
    for (int i = 0; i < THREADS; i++) OK(pthread_join(threads[i], NULL));
    CHECK(!wrong_thread && handled == 0);

    self = pthread_self();
    CHECK(raise(SIGUSR1) == 0);
    CHECK(handled == 1 && !wrong_thread);
}

static int interrupted_pipe[2];
static atomic_int stop;

static void *reads_until_signalled(void *argument) {
    char byte;
    self = pthread_self();
    CHECK(sem_post(&ready) == 0);
    CHECK(read(interrupted_pipe[0], &byte, 1) == -1 && errno == EINTR);
    stop = 1;
    return argument;
}

/* A handler without SA_RESTART ends a read that waits. */
static void signals_interrupt(void) {
    pthread_t thread;
    CHECK(pipe2(interrupted_pipe, O_CLOEXEC) == 0);
    OK(pthread_create(&thread, NULL, reads_until_signalled, NULL));
    CHECK(sem_wait(&ready) == 0);
    /* It says that it is about to read, not that it reads: so again until it was interrupted. */
    while (!stop) {
        pthread_kill(thread, SIGUSR1);
        sched_yield();
    }
    OK(pthread_join(thread, NULL));
    CHECK(close(interrupted_pipe[0]) == 0 && close(interrupted_pipe[1]) == 0);
}

static void *awaits(void *argument) {
    sigset_t set;
    int signal, sum = 0;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR2) == 0 && sigaddset(&set, SIGRTMIN) == 0);
    for (int i = 0; i < 2; i++) {
        OK(sigwait(&set, &signal));
        CHECK(signal == SIGUSR2 || signal == SIGRTMIN);
        sum += signal;
        CHECK(sem_post(&ready) == 0);
    }
    CHECK(sum == SIGUSR2 + SIGRTMIN);
    struct timespec soon = {.tv_nsec = 20000000};
    CHECK(sigtimedwait(&set, NULL, &soon) == -1 && errno == EAGAIN);
    return argument;
}

/* A thread that waits for the process's signals, all others having them blocked. */
static void signals_awaited(void) {
    sigset_t set, before;
    pthread_t thread;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR2) == 0 && sigaddset(&set, SIGRTMIN) == 0);
    OK(pthread_sigmask(SIG_BLOCK, &set, &before));
    OK(pthread_create(&thread, NULL, awaits, NULL));
    CHECK(kill(getpid(), SIGUSR2) == 0);
    CHECK(sem_wait(&ready) == 0);
    OK(pthread_kill(thread, SIGRTMIN));
    CHECK(sem_wait(&ready) == 0);
    OK(pthread_join(thread, NULL));
    OK(pthread_sigmask(SIG_SETMASK, &before, NULL));
}

static sem_t alarmed;

static void on_alarm(int signal) {
    (void)signal;
    sem_post(&alarmed);
}

static void alarms(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval soon = {.it_value = {.tv_usec = 10000}};
    CHECK(sem_init(&alarmed, 0, 0) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    int result;
    while ((result = sem_wait(&alarmed)) == -1 && errno == EINTR) {}
    CHECK(result == 0);
}

int main(void) {
    run(forks);
    PASS("fork");
    run(forks_and_threads);
    PASS("threads after fork");
    run(executes);
    PASS("exec posix_spawn vfork");
    run(runs_shells);
    PASS("system popen");
    run(kills);
    PASS("kill waitid");
    pass_through_pipes();
    PASS("pipes");
    signals_to_threads();
    PASS("pthread_kill sigsuspend raise");
    signals_interrupt();
    PASS("EINTR");
    signals_awaited();
    PASS("sigwait sigtimedwait");
    alarms();
    PASS("setitimer");
    return 0;
}
