/* Calls that change what the kernel knows of one thread: the change is that thread's for as long as it lives, and never
 * another's, neither meanwhile nor later. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { MANY = 200, BESIDE = 8, TURNS = 100, OTHER = 65534 };

static cpu_set_t all_cpus;
static char directory[4096];

/* What the kernel says of the OS thread that runs this. */
static void get_cpus(cpu_set_t *set) {
    CPU_ZERO(set);
    CHECK(syscall(SYS_sched_getaffinity, 0, sizeof *set, set) > 0);
}

static uid_t file_user(void) {
    char line[256];
    unsigned user = -1;
    FILE *status = fopen("/proc/thread-self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status)) {
        if (sscanf(line, "Uid: %*u %*u %*u %u", &user) == 1) break;
    }
    fclose(status);
    return user;
}

/* Nothing that the others do is to be seen here. */
static void is_untouched(void) {
    cpu_set_t set;
    char path[4096];
    get_cpus(&set);
    CHECK(CPU_EQUAL(&set, &all_cpus));
    CHECK(getcwd(path, sizeof path) != NULL);
    CHECK(strcmp(path, directory) == 0);
    CHECK(file_user() == geteuid());
}

static sem_t changed, leave;

static void *changes_cpus(void *unused) {
    cpu_set_t one, set;
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all_cpus)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(sem_post(&changed) == 0);
    for (int turn = 0; turn < TURNS; turn++) {
        sched_yield();
        usleep(10);
        get_cpus(&set);
        CHECK(CPU_EQUAL(&set, &one));
    }
    while (sem_wait(&leave) != 0) {}
    OK(pthread_getaffinity_np(pthread_self(), sizeof set, &set));
    CHECK(CPU_EQUAL(&set, &one));
    return unused;
}

static void *changes_once(void *unused) {
    CHECK(unshare(CLONE_FS) == 0 && chdir("/proc") == 0);
    return unused;
}

static void *changes_directory(void *unused) {
    char path[4096];
    CHECK(unshare(CLONE_FS) == 0);
    CHECK(chdir("/proc") == 0);
    CHECK(sem_post(&changed) == 0);
    for (int turn = 0; turn < TURNS; turn++) {
        sched_yield();
        CHECK(getcwd(path, sizeof path) != NULL);
        CHECK(strcmp(path, "/proc") == 0);
    }
    while (sem_wait(&leave) != 0) {}
    return unused;
}

static void *changes_user(void *unused) {
    uid_t user = geteuid() == 0 ? OTHER : geteuid();
    setfsuid(user);
    CHECK(sem_post(&changed) == 0);
    for (int turn = 0; turn < TURNS; turn++) {
        sched_yield();
        CHECK(file_user() == user);
    }
    while (sem_wait(&leave) != 0) {}
    CHECK(file_user() == user);
    return unused;
}

static void *looks(void *unused) {
    is_untouched();
    sched_yield();
    is_untouched();
    usleep(10);
    is_untouched();
    return unused;
}

static void *looks_often(void *unused) {
    for (int turn = 0; turn < TURNS; turn++) {
        is_untouched();
        sched_yield();
    }
    return unused;
}

static void test_change(const char *name, void *(*changes)(void *)) {
    pthread_t one, beside[BESIDE], later[MANY];
    OK(pthread_create(&one, NULL, changes, NULL));
    for (int i = 0; i < BESIDE; i++) OK(pthread_create(&beside[i], NULL, looks_often, NULL));
    while (sem_wait(&changed) != 0) {}
    is_untouched();
    for (int i = 0; i < BESIDE; i++) OK(pthread_join(beside[i], NULL));
    CHECK(sem_post(&leave) == 0);
    OK(pthread_join(one, NULL));
    for (int i = 0; i < MANY; i++) OK(pthread_create(&later[i], NULL, looks, NULL));
    for (int i = 0; i < MANY; i++) OK(pthread_join(later[i], NULL));
    is_untouched();
    PASS(name);
}

static void *waits(void *unused) {
    while (sem_wait(&leave) != 0) {}
    return unused;
}

static void test_questions(void) {
    pthread_t one;
    struct sched_param param = {.sched_priority = 0};
    struct timespec before, after;
    clockid_t clock;
    cpu_set_t set;
    int policy = -1;
    OK(pthread_create(&one, NULL, waits, NULL));
    pthread_t all[] = {one, pthread_self()};
    for (int i = 0; i < 2; i++) {
        OK(pthread_setschedparam(all[i], SCHED_OTHER, &param));
        OK(pthread_getschedparam(all[i], &policy, &param));
        CHECK(policy == SCHED_OTHER && param.sched_priority == 0);
        OK(pthread_setschedprio(all[i], 0));
        CHECK(pthread_setschedprio(all[i], 1) == EINVAL);
        CHECK(pthread_setschedparam(all[i], 77, &param) == EINVAL);
        OK(pthread_getcpuclockid(all[i], &clock));
        CHECK(clock_gettime(clock, &before) == 0);
        CHECK(clock_gettime(clock, &after) == 0);
        CHECK(after.tv_sec > before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec));
        OK(pthread_getaffinity_np(all[i], sizeof set, &set));
        CHECK(CPU_EQUAL(&set, &all_cpus));
    }
    OK(pthread_setschedparam(one, SCHED_BATCH, &param));
    OK(pthread_getschedparam(one, &policy, &param));
    CHECK(policy == SCHED_BATCH);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all_cpus)) cpu++;
    CPU_ZERO(&set);
    CHECK(pthread_setaffinity_np(one, sizeof set, &set) == EINVAL);
    CPU_SET(cpu, &set);
    OK(pthread_setaffinity_np(one, sizeof set, &set));
    CPU_ZERO(&set);
    OK(pthread_getaffinity_np(one, sizeof set, &set));
    CHECK(CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set));
    is_untouched();
    CHECK(sem_post(&leave) == 0);
    OK(pthread_join(one, NULL));
    PASS("questions");
}

int main(void) {
    CHECK(sem_init(&changed, 0, 0) == 0 && sem_init(&leave, 0, 0) == 0);
    CHECK(getcwd(directory, sizeof directory) != NULL);
    get_cpus(&all_cpus);
    test_questions();
    test_change("affinity", changes_cpus);
    test_change("directory", changes_directory);
    test_change("user of the file system", changes_user);
    /* Each gives its own OS thread back. */
    for (int i = 0; i < 100; i++) {
        pthread_t one;
        OK(pthread_create(&one, NULL, changes_once, NULL));
        OK(pthread_join(one, NULL));
    }
    is_untouched();
    PASS("again and again");
}
