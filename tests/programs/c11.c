/* Threads of C11. Says on stderr how many OS threads there were while all waited. */
#include <stdint.h>
#include <threads.h>

#include "check.h"

enum { THREADS = 200 };

static mtx_t mutex;
static cnd_t changed;
static int waiting, go;

static int waits(void *number) {
    CHECK(mtx_lock(&mutex) == thrd_success);
    waiting++;
    CHECK(cnd_broadcast(&changed) == thrd_success);
    while (!go) CHECK(cnd_wait(&changed, &mutex) == thrd_success);
    CHECK(mtx_unlock(&mutex) == thrd_success);
    CHECK(thrd_equal(thrd_current(), thrd_current()));
    return (int)(intptr_t)number - 100;
}

static void report_os_threads(void) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status)) {
        int count;
        if (sscanf(line, "Threads: %d", &count) == 1) fprintf(stderr, "os threads %d\n", count);
    }
    fclose(status);
}

static int exits(void *number) {
    thrd_yield();
    thrd_exit((int)(intptr_t)number);
}

static int tells(void *unused) {
    (void)unused;
    CHECK(mtx_lock(&mutex) == thrd_success);
    waiting--;
    CHECK(cnd_broadcast(&changed) == thrd_success);
    CHECK(mtx_unlock(&mutex) == thrd_success);
    return 0;
}

int main(void) {
    thrd_t threads[THREADS], one;
    int result;
    CHECK(mtx_init(&mutex, mtx_plain) == thrd_success && cnd_init(&changed) == thrd_success);
    for (int i = 0; i < THREADS; i++) {
        CHECK(thrd_create(&threads[i], waits, (void *)(intptr_t)i) == thrd_success);
    }
    CHECK(mtx_lock(&mutex) == thrd_success);
    while (waiting < THREADS) CHECK(cnd_wait(&changed, &mutex) == thrd_success);
    report_os_threads();
    go = 1;
    CHECK(cnd_broadcast(&changed) == thrd_success);
    CHECK(mtx_unlock(&mutex) == thrd_success);
    for (int i = 0; i < THREADS; i++) {
        CHECK(thrd_join(threads[i], &result) == thrd_success);
        CHECK(result == i - 100);
    }
    PASS("200 threads");

    CHECK(thrd_create(&one, exits, (void *)(intptr_t)-7) == thrd_success);
    CHECK(thrd_join(one, &result) == thrd_success);
    CHECK(result == -7);
    waiting = 1;
    CHECK(thrd_create(&one, tells, NULL) == thrd_success);
    CHECK(thrd_detach(one) == thrd_success);
    CHECK(mtx_lock(&mutex) == thrd_success);
    while (waiting) CHECK(cnd_wait(&changed, &mutex) == thrd_success);
    CHECK(mtx_unlock(&mutex) == thrd_success);
    PASS("exit, detach");
}
