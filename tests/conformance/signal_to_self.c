/* A signal that main sends to its own process is handled before the call returns, whichever call that
 * is, though other threads could take it: the kernel prefers main. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../programs/check.h"

static int gate[2];
static atomic_int ends;
static volatile sig_atomic_t handled, value, code;
static pthread_t main_thread;

static void handle(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    if (!pthread_equal(pthread_self(), main_thread)) abort();
    code = info->si_code;
    value = info->si_value.sival_int;
    handled++;
}

static void *lets_child_go(void *argument) {
    CHECK(write(gate[1], "x", 1) == 1);
    while (!atomic_load(&ends)) sched_yield();
    return argument;
}

/* Main waits in a call that holds up its OS thread, and then lets others go first: where threads are not
 * the kernel's it may be on another OS thread afterwards. */
static void wait_for_any_child(pthread_t *other) {
    CHECK(pipe(gate) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        _exit(read(gate[0], &byte, 1) == 1 ? 0 : 1);
    }
    OK(pthread_create(other, NULL, lets_child_go, NULL));
    int status;
    CHECK(wait(&status) == child && status == 0);
    for (int i = 0; i < 10; i++) sched_yield();
}

#define HANDLED(call)                 \
    do {                              \
        int before_ = handled;        \
        CHECK((call) == 0);           \
        CHECK(handled == before_ + 1); \
    } while (0)

int main(void) {
    main_thread = pthread_self();
    CHECK(setpgid(0, 0) == 0);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    pthread_t other;
    wait_for_any_child(&other);
    pid_t own = getpid();
    int pidfd = (int)syscall(SYS_pidfd_open, own, 0), directory = open("/proc/self", O_RDONLY);
    CHECK(pidfd >= 0 && directory >= 0);
    for (int i = 0; i < 100; i++) {
        HANDLED(kill(own, SIGUSR1));
        CHECK(code == SI_USER);
        HANDLED(syscall(SYS_kill, own, SIGUSR1));
        HANDLED(raise(SIGUSR1));
        CHECK(code == SI_TKILL);
        HANDLED(kill(0, SIGUSR1));
        HANDLED(killpg(own, SIGUSR1));
        CHECK(code == SI_USER);
        HANDLED(sigqueue(own, SIGUSR1, (union sigval){.sival_int = i}));
        CHECK(code == SI_QUEUE && value == i);
        HANDLED(syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0));
        HANDLED(syscall(SYS_pidfd_send_signal, directory, SIGUSR1, NULL, 0));
        CHECK(code == SI_USER);
    }
    PASS("handled before the call returns");

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    atomic_store(&ends, 1);
    OK(pthread_join(other, NULL));
    int before = handled;
    CHECK(kill(own, SIGUSR1) == 0 && kill(0, SIGUSR1) == 0);
    CHECK(handled == before && sigpending(&set) == 0 && sigismember(&set, SIGUSR1) == 1);
    OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    CHECK(handled == before + 1);
    PASS("or when it is unblocked");
    CHECK(kill(own, 0) == 0 && kill(0, 0) == 0);
    CHECK(kill(own, 65) == -1 && errno == EINVAL);
    CHECK(killpg(-2, SIGUSR1) == -1 && errno == EINVAL);
    PASS("or not at all");
    return 0;
}
