/* The load on an HTTP server: a closed loop of connections with one request each under way, one thread, one epoll.

       load PORT CONNECTIONS WARM_UP SECONDS PATH

   Every connection has had its first answer before the window begins. Prints "begin" then, and in the end
   "requests=… seconds=… p50=… p99=… max=… errors=… closed=… stuck=…", times in milliseconds. An answer is an
   error if its status is not 200 or the connection breaks within it; a server that closes after an answer is
   connected to again. Cheap on purpose: it shares two cores with what it measures. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 16, HEAD = 2048, EVENTS = 512 };

struct connection {
    int socket;
    int64_t sent;     /* when, in nanoseconds: the request, or the wish to connect */
    size_t received;  /* of this answer */
    size_t length;    /* of this answer, 0 while its head has not come whole */
    int connecting, bad, closes;
    int until_end;    /* no length given: the end of the connection is the end of the answer */
    char head[HEAD + 1];
};

static int port, events;
static char request[1024];
static size_t request_length;
static long answered, first_answers, errors, closed;
static int64_t window_begin = INT64_MAX;
static uint32_t *latencies; /* microseconds */
static size_t room;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void ask(struct connection *one) {
    one->received = one->length = 0;
    one->bad = one->closes = one->until_end = 0;
    /* A socket whose last answer has come has room for this. One that is closed says so when it is read. */
    if (send(one->socket, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) errors++;
}

static void open_connection(struct connection *one) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    one->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (one->socket < 0) die("socket");
    int yes = 1;
    setsockopt(one->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    /* Does not wait: a server whose backlog is full lets clients try for a second and more. */
    if (connect(one->socket, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
    one->connecting = 1;
    one->sent = now();
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = one};
    if (epoll_ctl(events, EPOLL_CTL_ADD, one->socket, &event)) die("epoll_ctl");
}

static void reopen(struct connection *one) {
    closed++;
    close(one->socket);
    open_connection(one);
}

static void connected(struct connection *one) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(one->socket, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        errors++;
        reopen(one);
        return;
    }
    one->connecting = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    if (epoll_ctl(events, EPOLL_CTL_MOD, one->socket, &event)) die("epoll_ctl");
    ask(one);
}

/* Finds out how long the answer is, once its head is there. */
static void read_head(struct connection *one) {
    one->head[one->received < HEAD ? one->received : HEAD] = 0;
    char *end = strstr(one->head, "\r\n\r\n");
    if (!end) return;
    *end = 0;
    one->bad = strncmp(one->head, "HTTP/1.", 7) || strncmp(one->head + 8, " 200", 4);
    char *length = strcasestr(one->head, "\r\nContent-Length:");
    one->closes = strcasestr(one->head, "\r\nConnection: close") || !strncmp(one->head, "HTTP/1.0", 8);
    one->until_end = !length;
    one->length = length ? end + 4 - one->head + strtoul(length + 17, NULL, 10) : SIZE_MAX;
}

static void done(struct connection *one) {
    int64_t time = now();
    first_answers++;
    if (one->bad) errors++;
    if (one->sent >= window_begin) {
        if ((size_t)answered == room) {
            room = room ? 2 * room : 1 << 16;
            latencies = realloc(latencies, room * sizeof *latencies);
            if (!latencies) die("memory");
        }
        latencies[answered++] = (time - one->sent) / 1000;
    }
}

static void receive(struct connection *one) {
    static char buffer[ROOM];
    ssize_t count = recv(one->socket, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
        if (one->until_end) done(one);
        else if (one->received > 0 || !one->closes) errors++;
        reopen(one);
        return;
    }
    if (!one->length) {
        size_t fits = one->received < HEAD ? HEAD - one->received : 0;
        memcpy(one->head + (HEAD - fits), buffer, (size_t)count < fits ? (size_t)count : fits);
    }
    one->received += count;
    if (!one->length) read_head(one);
    if (!one->length || one->received < one->length) return;
    done(one);
    if (one->closes) {
        reopen(one);
    } else {
        one->sent = now();
        ask(one);
    }
}

static void drive(int64_t until, long answers) {
    struct epoll_event ready[EVENTS];
    while (now() < until && first_answers < answers) {
        int count = epoll_wait(events, ready, EVENTS, 20);
        for (int at = 0; at < count; at++) {
            struct connection *one = ready[at].data.ptr;
            if (one->connecting) connected(one);
            else receive(one);
        }
    }
}

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "load PORT CONNECTIONS WARM_UP SECONDS PATH\n");
        return 2;
    }
    port = atoi(arguments[1]);
    int number = atoi(arguments[2]);
    double warm_up = atof(arguments[3]), seconds = atof(arguments[4]);
    request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", arguments[5]);

    events = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc(number, sizeof *all);
    if (!all) die("memory");
    for (int at = 0; at < number; at++) open_connection(&all[at]);
    drive(now() + 30000000000LL, number);
    drive(now() + (int64_t)(warm_up * 1e9), INT64_MAX);

    errors = closed = 0;
    window_begin = now();
    puts("begin");
    fflush(stdout);
    drive(window_begin + (int64_t)(seconds * 1e9), INT64_MAX);
    double took = (now() - window_begin) / 1e9;

    long stuck = 0;
    for (int at = 0; at < number; at++) stuck += all[at].sent < window_begin;
    if (!answered) {
        fprintf(stderr, "no request was answered within the window\n");
        return 1;
    }
    qsort(latencies, answered, sizeof *latencies, by_size);
    printf("requests=%ld seconds=%.3f p50=%.3f p99=%.3f max=%.3f errors=%ld closed=%ld stuck=%ld\n", answered, took,
           latencies[answered / 2] / 1e3, latencies[answered * 99 / 100] / 1e3, latencies[answered - 1] / 1e3, errors,
           closed, stuck);
    return 0;
}
