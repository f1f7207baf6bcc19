/* Who finds nothing to read and then waits by poll is told of all that comes: before the poll, while it lasts, data, urgent
 * data, the end, an error. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../programs/check.h"

enum { ROUNDS = 3000, LIMIT = 60000 };

static void make_pair(int kind, int pair[2]) {
    if (kind != SOCK_RDM) { /* which stands for TCP */
        CHECK(socketpair(AF_UNIX, kind, 0, pair) == 0);
        return;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(pair[0], (struct sockaddr *)&address, size) == 0);
    CHECK((pair[1] = accept(listener, NULL, NULL)) >= 0);
    for (int i = 0; i < 2; i++) CHECK(setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    close(listener);
}

/* Reads one byte as drivers do. */
static void read_byte(int socket_, char expected) {
    char byte = 0;
    for (;;) {
        ssize_t come = recv(socket_, &byte, 1, MSG_DONTWAIT);
        if (come == 1) break;
        CHECK(come == -1 && errno == EAGAIN);
        struct pollfd record = {.fd = socket_, .events = POLLIN};
        CHECK(poll(&record, 1, LIMIT) == 1 && record.revents == POLLIN);
    }
    CHECK(byte == expected);
}

static void *answers(void *socket_) {
    int own = *(int *)socket_;
    for (int i = 0; i < ROUNDS; i++) {
        char byte = i;
        read_byte(own, byte);
        if (i % 7 == 0) sched_yield();
        if (i % 500 == 0) usleep(1000);
        CHECK(send(own, &byte, 1, 0) == 1);
    }
    return NULL;
}

static void ask(int own) {
    for (int i = 0; i < ROUNDS; i++) {
        char byte = i;
        CHECK(send(own, &byte, 1, 0) == 1);
        read_byte(own, byte);
        if (i % 11 == 0) sched_yield();
    }
}

static void test_rounds(int kind, const char *name) {
    int pair[2], status;
    pthread_t thread;
    make_pair(kind, pair);
    OK(pthread_create(&thread, NULL, answers, &pair[1]));
    ask(pair[0]);
    OK(pthread_join(thread, NULL));
    /* The mode instead of the flag, and another process at the other end. */
    CHECK(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        answers(&pair[1]);
        _exit(0);
    }
    ask(pair[0]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(pair[0]);
    close(pair[1]);
    PASS(name);
}

static struct {
    int socket_, how;
} other;

static void *acts(void *unused) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    usleep(1000);
    if (other.how == 0) CHECK(send(other.socket_, "!", 1, MSG_OOB) == 1);
    if (other.how == 1) CHECK(shutdown(other.socket_, SHUT_WR) == 0);
    if (other.how == 2) {
        CHECK(setsockopt(other.socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
        CHECK(close(other.socket_) == 0);
    }
    return unused;
}

/* Twice: the second time it is there already. */
static void test_end(int how, short wanted, short expected, const char *name) {
    int pair[2];
    char byte;
    pthread_t thread;
    make_pair(SOCK_RDM, pair);
    for (int i = 0; i < 20; i++) CHECK(recv(pair[0], &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    other.socket_ = pair[1];
    other.how = how;
    OK(pthread_create(&thread, NULL, acts, NULL));
    for (int turn = 0; turn < 2; turn++) {
        struct pollfd record = {.fd = pair[0], .events = wanted};
        CHECK(poll(&record, 1, LIMIT) == 1);
        if (turn == 1) OK(pthread_join(thread, NULL));
        CHECK((record.revents & expected) == expected);
    }
    close(pair[0]);
    if (how != 2) close(pair[1]);
    PASS(name);
}

static void test_time(void) {
    int pair[2];
    char byte;
    make_pair(SOCK_RDM, pair);
    for (int i = 0; i < 5; i++) {
        struct pollfd record = {.fd = pair[0], .events = POLLIN, .revents = -1};
        CHECK(recv(pair[0], &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
        CHECK(poll(&record, 1, i) == 0 && record.revents == 0);
    }
    close(pair[0]);
    close(pair[1]);
    PASS("time limits");
}

int main(void) {
    pthread_t thread;
    other.how = -1;
    OK(pthread_create(&thread, NULL, acts, NULL));
    OK(pthread_join(thread, NULL));
    test_rounds(SOCK_STREAM, "local streams");
    test_rounds(SOCK_SEQPACKET, "local packets");
    test_rounds(SOCK_DGRAM, "datagrams");
    test_rounds(SOCK_RDM, "TCP");
    test_end(0, POLLIN | POLLPRI, POLLPRI, "urgent data");
    test_end(1, POLLIN, POLLIN, "end");
    test_end(1, POLLRDHUP, POLLRDHUP, "end of one direction");
    test_end(2, POLLIN, POLLERR | POLLHUP, "reset");
    test_end(2, 0, POLLERR | POLLHUP, "reset, and nothing asked for");
    test_time();
    return 0;
}
