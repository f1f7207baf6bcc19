/* A TCP server with a thread for each connection, and its clients, each a thread too. Prints a PASS line when every byte
 * came back and every connection was open at once. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"

enum { CLIENTS = 300, ROUNDS = 20, LARGEST = 9000 };

static struct sockaddr_in address = {.sin_family = AF_INET};
static pthread_barrier_t all_connected;
static atomic_long echoed;

static void send_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t count = send(fd, bytes, length, MSG_NOSIGNAL);
        CHECK(count > 0);
        bytes += count;
        length -= (size_t)count;
    }
}

static void *serve(void *argument) {
    int fd = (int)(intptr_t)argument;
    char buffer[4096];
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) > 0) {
        send_all(fd, buffer, (size_t)count);
        echoed += count;
    }
    CHECK(count == 0);
    CHECK(close(fd) == 0);
    return NULL;
}

static void *accept_all(void *argument) {
    int listener = (int)(intptr_t)argument;
    pthread_t threads[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        CHECK(fd >= 0);
        OK(pthread_create(&threads[i], NULL, serve, (void *)(intptr_t)fd));
    }
    for (int i = 0; i < CLIENTS; i++) OK(pthread_join(threads[i], NULL));
    return NULL;
}

/* Reads exactly `length` bytes, by one of the ways that there are. */
static void receive_all(int fd, char *bytes, size_t length, int way) {
    if (way == 0) {
        CHECK(recv(fd, bytes, length, MSG_WAITALL) == (ssize_t)length);
        return;
    }
    while (length > 0) {
        if (way == 1) {
            struct pollfd readable = {.fd = fd, .events = POLLIN};
            CHECK(poll(&readable, 1, -1) == 1 && (readable.revents & POLLIN));
        }
        struct iovec part = {.iov_base = bytes, .iov_len = length};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        ssize_t count = way == 2 ? recvmsg(fd, &message, 0) : read(fd, bytes, length);
        CHECK(count > 0);
        bytes += count;
        length -= (size_t)count;
    }
}

static void *client(void *argument) {
    intptr_t number = (intptr_t)argument;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    int result = pthread_barrier_wait(&all_connected);
    CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);

    char sent[LARGEST], received[LARGEST];
    for (int round = 0; round < ROUNDS; round++) {
        size_t length = 1 + (size_t)(number * 7919 + round * 104729) % LARGEST;
        for (size_t i = 0; i < length; i++) sent[i] = (char)(number + round * 31 + (intptr_t)i);
        send_all(fd, sent, length);
        receive_all(fd, received, length, round % 4);
        CHECK(memcmp(sent, received, length) == 0);
    }

    /* A time limit on the socket is obeyed. */
    struct timeval limit = {.tv_usec = 20000};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(recv(fd, received, 1, 0) == -1 && (errno == EAGAIN || errno == EWOULDBLOCK));
    CHECK(shutdown(fd, SHUT_WR) == 0);
    limit.tv_usec = 0;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(recv(fd, received, 1, 0) == 0);
    CHECK(close(fd) == 0);
    return NULL;
}

int main(void) {
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);

    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, CLIENTS) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    OK(pthread_barrier_init(&all_connected, NULL, CLIENTS));

    pthread_t server, clients[CLIENTS];
    OK(pthread_create(&server, NULL, accept_all, (void *)(intptr_t)listener));
    for (intptr_t i = 0; i < CLIENTS; i++) OK(pthread_create(&clients[i], NULL, client, (void *)i));
    for (int i = 0; i < CLIENTS; i++) OK(pthread_join(clients[i], NULL));
    OK(pthread_join(server, NULL));
    CHECK(close(listener) == 0);
    printf("echoed %ld bytes\n", echoed);
    PASS("echo");
    return 0;
}
