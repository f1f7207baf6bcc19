/* What comes to an epoll whose reader is busy wakes nobody. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../programs/check.h"

enum { ROUNDS = 1000 };

static int event, epoll;

static void *writes(void *unused) {
    CHECK(eventfd_write(event, 1) == 0);
    return unused;
}

static void take(void) {
    struct epoll_event come;
    eventfd_t value;
    CHECK(epoll_wait(epoll, &come, 1, -1) == 1);
    CHECK(eventfd_read(event, &value) == 0 && value == 1);
}

/* How often OS threads of this process have gone to sleep. Not one that keeps time. */
static long sleeps(void) {
    char path[300], line[100], name[100];
    long all = 0, one;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *status = fopen(path, "r");
        if (!status) continue;
        while (fgets(line, sizeof line, status)) {
            if (sscanf(line, "Name: %99s", name) == 1 && strcmp(name, "timestop-monito") == 0) break;
            if (sscanf(line, "voluntary_ctxt_switches: %ld", &one) == 1) all += one;
        }
        fclose(status);
    }
    closedir(tasks);
    return all;
}

static void compute(long nanoseconds) {
    struct timespec now, begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < nanoseconds);
}

int main(void) {
    pthread_t thread;
    CHECK((event = eventfd(0, 0)) >= 0 && (epoll = epoll_create1(0)) >= 0);
    struct epoll_event wanted = {.events = EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted) == 0);
    /* Again and again one that waits is told. */
    for (int i = 0; i < 100; i++) {
        OK(pthread_create(&thread, NULL, writes, NULL));
        take();
        OK(pthread_join(thread, NULL));
    }
    PASS("who waits is told");
    long before = sleeps();
    for (int i = 0; i < ROUNDS; i++) {
        writes(NULL);
        compute(100000);
        take();
    }
    CHECK(sleeps() - before < ROUNDS / 4);
    PASS("who is busy wakes nobody");
    return 0;
}
