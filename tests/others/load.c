/* A load of many connections from one thread: each sends a request and waits for its answer, again and again.
 *
 *     load PORT CONNECTIONS SECONDS KIND [ARGUMENT]
 *
 * KIND is http (ARGUMENT: the path), echo, redis, memcached, or mysql (ARGUMENT: the query, in which #### becomes a number from
 * 1000 to 1999, another for each connection). How long an answer is, is learned from the first one, so all must be alike. Prints requests/s and the times of half and of 99 % of them, in ms. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 16, MOST = 20000000 };

struct connection {
    int socket;
    size_t come;
    double sent;
};

static int port;
static const char *kind;
static char request[ROOM];
static size_t request_bytes, answer_bytes;

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected answer");
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int connected(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_ < 0) fail("socket");
    if (connect(socket_, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return socket_;
}

static void send_all(int socket_, const char *bytes, size_t count) {
    if (send(socket_, bytes, count, MSG_NOSIGNAL) != (ssize_t)count) fail("send");
}

/* One packet of MySQL's protocol. */
static size_t read_packet(int socket_, unsigned char *packet) {
    unsigned char header[4];
    if (recv(socket_, header, 4, MSG_WAITALL) != 4) fail("recv");
    size_t count = header[0] | header[1] << 8 | header[2] << 16;
    if (count > ROOM || recv(socket_, packet, count, MSG_WAITALL) != (ssize_t)count) fail("recv");
    return count;
}

/* Logs root in, who has no password. */
static void log_in(int socket_) {
    static unsigned char packet[ROOM];
    read_packet(socket_, packet);
    /* Long flags, protocol 4.1, secure connection, a database, authentication by plugin. */
    const unsigned flags = 0x1 | 0x8 | 0x200 | 0x8000 | 0x80000;
    unsigned char answer[256] = {0};
    size_t at = 4;
    memcpy(answer + at, &flags, 4);
    answer[at + 7] = 1; /* 16 MiB a packet */
    answer[at + 8] = 45;
    at += 32;
    at += sprintf((char *)answer + at, "root") + 1;
    answer[at++] = 0;
    at += sprintf((char *)answer + at, "test") + 1;
    at += sprintf((char *)answer + at, "mysql_native_password") + 1;
    answer[0] = at - 4;
    answer[3] = 1;
    send_all(socket_, (char *)answer, at);
    if (read_packet(socket_, packet) < 1 || packet[0] != 0) {
        fprintf(stderr, "load: login: %.200s\n", packet + 9);
        exit(1);
    }
}

static int is(const char *kind, const char *name) {
    return strcmp(kind, name) == 0;
}

static void make_request(const char *argument) {
    if (is(kind, "http")) {
        request_bytes = sprintf(request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argument);
    } else if (is(kind, "echo")) {
        request_bytes = sprintf(request, "sixty-four bytes, which is what a short line of a protocol has.\n");
    } else if (is(kind, "redis")) {
        request_bytes = sprintf(request, "*2\r\n$3\r\nGET\r\n$8\r\ntreasure\r\n");
    } else if (is(kind, "memcached")) {
        request_bytes = sprintf(request, "get treasure\r\n");
    } else if (is(kind, "mysql")) {
        size_t count = strlen(argument) + 1;
        request_bytes = 4 + count;
        memcpy(request, (char[]){count, count >> 8, 0, 0, 3}, 5);
        memcpy(request + 5, argument, count - 1);
    } else {
        fail("no such kind");
    }
}

/* Another number for each connection. */
static void vary(int connection) {
    static char *place;
    if (!place && !(place = memmem(request, request_bytes, "####", 4))) return;
    char digits[12];
    snprintf(digits, sizeof digits, "%d", 1000 + connection % 1000);
    memcpy(place, digits, 4);
}

static int ready_connection(void) {
    int socket_ = connected(port);
    if (is(kind, "mysql")) log_in(socket_);
    return socket_;
}

/* Stores what is asked for later, and learns how long an answer is: all that comes until nothing does for a while. */
static void learn(void) {
    static char answer[ROOM];
    int socket_ = ready_connection();
    if (is(kind, "redis")) {
        const char *set = "*3\r\n$3\r\nSET\r\n$8\r\ntreasure\r\n$4\r\ngold\r\n";
        send_all(socket_, set, strlen(set));
        if (recv(socket_, answer, 5, MSG_WAITALL) != 5) fail("set");
    } else if (is(kind, "memcached")) {
        const char *set = "set treasure 0 0 4\r\ngold\r\n";
        send_all(socket_, set, strlen(set));
        if (recv(socket_, answer, 8, MSG_WAITALL) != 8) fail("set");
    }
    vary(0);
    send_all(socket_, request, request_bytes);
    struct pollfd record = {.fd = socket_, .events = POLLIN};
    while (poll(&record, 1, answer_bytes ? 500 : 10000) == 1) {
        ssize_t come = recv(socket_, answer, ROOM, 0);
        if (come <= 0) fail("first answer");
        answer_bytes += come;
    }
    if (answer_bytes == 0 || (is(kind, "http") && strncmp(answer, "HTTP/1.1 200", 12))) fail("first answer");
    close(socket_);
}

static int compare(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    if (count < 5) return 2;
    int connections = atoi(arguments[2]);
    port = atoi(arguments[1]);
    double seconds = atof(arguments[3]);
    kind = arguments[4];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    make_request(count > 5 ? arguments[5] : "/");
    learn();

    struct connection *all = calloc(connections, sizeof *all);
    float *times = malloc(MOST * sizeof *times);
    int epoll = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        all[i].socket = ready_connection();
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket, &event);
    }
    double begin = now(), end = begin + seconds;
    for (int i = 0; i < connections; i++) {
        all[i].sent = now();
        vary(i);
        send_all(all[i].socket, request, request_bytes);
    }
    static char answer[ROOM];
    size_t done = 0;
    while (now() < end && done < MOST) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 100);
        for (int i = 0; i < ready && done < MOST; i++) {
            struct connection *one = events[i].data.ptr;
            errno = 0;
            ssize_t come = recv(one->socket, answer, ROOM, 0);
            int ends = is(kind, "http") && (come == 0 || memmem(answer, come > 0 ? come : 0, "onnection: close", 16));
            if (come < 0 || (come == 0 && !ends)) fail("answer");
            one->come += come;
            if (one->come > answer_bytes && !ends) fail("a longer answer");
            if (one->come < answer_bytes && come > 0) continue;
            if (ends) {
                close(one->socket);
                one->socket = ready_connection();
                struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
                epoll_ctl(epoll, EPOLL_CTL_ADD, one->socket, &event);
            }
            one->come = 0;
            double at = now();
            times[done++] = at - one->sent;
            one->sent = at;
            vary(one - all);
            send_all(one->socket, request, request_bytes);
        }
    }
    double lasted = now() - begin;
    if (done == 0) fail("no answers");
    qsort(times, done, sizeof *times, compare);
    printf("%.0f %.2f %.2f\n", done / lasted, times[done / 2] * 1e3, times[done * 99 / 100] * 1e3);
    return 0;
}
