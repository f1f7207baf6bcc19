/* Lookups of names that signals interrupt. The names are those of nss_module.c, which must be found as
 * libnss_timestop.so.2 by the dynamic linker. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"

extern int __nss_configure_lookup(const char *database, const char *services);

static int gate;
static int (*lookups_inside)(void);
static sigjmp_buf way_out;
static volatile sig_atomic_t handled;

static int look_up(const char *name) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int code = getaddrinfo(name, "80", &hints, &found);
    if (code == 0)
        freeaddrinfo(found);
    return code;
}

static void *look_up_many(void *argument) {
    char name[32];
    for (int round = 0; round < 20; round++) {
        snprintf(name, sizeof name, "plain-%d.test", (int)(intptr_t)argument + round);
        CHECK(look_up(name) == 0);
    }
    CHECK(look_up("nobody.test") == EAI_NONAME);
    return NULL;
}

static void many(void) {
    pthread_t threads[50];
    for (intptr_t i = 0; i < 50; i++)
        CHECK(pthread_create(&threads[i], NULL, look_up_many, (void *)i) == 0);
    for (int i = 0; i < 50; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    PASS("50 threads");
}

struct interruption {
    pthread_t target;
    int signal, inside, opens;
};

/* Sends a signal to a thread that is in a lookup. */
static void *interrupt(void *argument) {
    struct interruption *what = argument;
    while (lookups_inside() < what->inside)
        usleep(1000);
    pthread_kill(what->target, what->signal);
    if (what->opens) {
        while (!handled)
            usleep(1000);
        CHECK(write(gate, &(uint64_t){1}, 8) == 8);
    }
    return NULL;
}

static void jump(int signal) { siglongjmp(way_out, signal); }
static void note(int signal) { handled = signal; }

static void jump_out(void) {
    pthread_t other;
    struct interruption what = {pthread_self(), SIGUSR1, 1, 0};
    CHECK(pthread_create(&other, NULL, interrupt, &what) == 0);
    if (sigsetjmp(way_out, 1) == 0) {
        look_up("stuck-1.test");
        CHECK(!"the gate is shut");
    }
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(look_up("plain-2.test") == 0);
    PASS("a handler leaves a lookup");
}

static void go_on(void) {
    pthread_t other;
    struct interruption what = {pthread_self(), SIGUSR2, lookups_inside() + 1, 1};
    CHECK(pthread_create(&other, NULL, interrupt, &what) == 0);
    CHECK(look_up("stuck-3.test") == 0);
    CHECK(handled == SIGUSR2);
    CHECK(pthread_join(other, NULL) == 0);
    PASS("a handler returns to a lookup");
}

int main(void) {
    void *module = dlopen("libnss_timestop.so.2", RTLD_NOW);
    CHECK(module != NULL);
    lookups_inside = (int (*)(void))dlsym(module, "lookups_inside");
    gate = eventfd(0, 0);
    ((void (*)(int))dlsym(module, "set_gate"))(gate);
    CHECK(__nss_configure_lookup("hosts", "timestop") == 0);
    signal(SIGUSR1, jump);
    sigaction(SIGUSR2, &(struct sigaction){.sa_handler = note}, NULL);
    many();
    jump_out();
    go_on();
    return 0;
}
