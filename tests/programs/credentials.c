/* Who the process is: a change holds for all threads, whichever made it. Run as root it changes users; else it can only
 * set what is set. */
#define _GNU_SOURCE
#include <dirent.h>
#include <grp.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 20, OTHER = 65534 };

static sem_t go, done;
static uid_t user;
static int over;

/* Asks the kernel, in whatever OS thread runs this. */
static void *asks(void *unused) {
    for (;;) {
        while (sem_wait(&go) != 0) {}
        if (over) return unused;
        CHECK((uid_t)syscall(SYS_geteuid) == user);
        CHECK(sem_post(&done) == 0);
    }
}

static void *spins(void *flag) {
    while (!__atomic_load_n((int *)flag, __ATOMIC_ACQUIRE)) {}
    return NULL;
}

/* The effective user of each OS thread of the process. */
static void look_at_all(void) {
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        char path[300], line[256];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "r");
        if (!status) continue; /* it has ended */
        while (fgets(line, sizeof line, status)) {
            unsigned real, effective;
            if (sscanf(line, "Uid: %u %u", &real, &effective) == 2) CHECK(effective == user);
        }
        fclose(status);
    }
    closedir(tasks);
}

static void change(uid_t to) {
    CHECK(seteuid(to) == 0);
    user = to;
    CHECK(geteuid() == to);
    for (int i = 0; i < THREADS; i++) CHECK(sem_post(&go) == 0);
    for (int i = 0; i < THREADS; i++) while (sem_wait(&done) != 0) {}
    look_at_all();
}

static void *changes(void *unused) {
    uid_t own = geteuid();
    for (int round = 0; round < 20; round++) {
        change(own == 0 && round % 2 == 0 ? OTHER : own);
        CHECK(setegid(getegid()) == 0 && setresuid(-1, -1, -1) == 0);
    }
    change(own);
    /* Refusals are the kernel's. */
    errno = 0;
    CHECK(setreuid(-1, -1) == 0 && errno == 0);
    if (own != 0) CHECK(setuid(0) == -1 && errno == EPERM);
    return unused;
}

int main(void) {
    pthread_t threads[THREADS], one, spinner;
    int enough = 0;
    CHECK(sem_init(&go, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
    user = geteuid();
    for (int i = 0; i < THREADS; i++) OK(pthread_create(&threads[i], NULL, asks, NULL));
    OK(pthread_create(&spinner, NULL, spins, &enough));
    changes(NULL);
    PASS("by main");
    OK(pthread_create(&one, NULL, changes, NULL));
    OK(pthread_join(one, NULL));
    PASS("by another thread");
    __atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
    OK(pthread_join(spinner, NULL));
    over = 1;
    for (int i = 0; i < THREADS; i++) CHECK(sem_post(&go) == 0);
    for (int i = 0; i < THREADS; i++) OK(pthread_join(threads[i], NULL));
    PASS("all have ended");
}
