/* A module for nsswitch that knows names of its own:
 *   plain-N.test   10.0.(N / 256).(N % 256), with an alias and a second address
 *   stuck-N.test   the same, as soon as the gate is open
 *   later.test     try again
 * and the names of these addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <nss.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static int gate = -1;
static int inside;
static char thread_name[16];

/* A descriptor that is readable once the gate is open. */
void set_gate(int descriptor) { gate = descriptor; }
int lookups_inside(void) { return __atomic_load_n(&inside, __ATOMIC_SEQ_CST); }
/* The name of the OS thread that made the last lookup. */
const char *last_thread(void) { return thread_name; }

static void enter(void) {
    __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    char name[16];
    prctl(PR_GET_NAME, name);
    memcpy(thread_name, name, sizeof name);
}

static enum nss_status leave(enum nss_status status) {
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    return status;
}

static char *align(char *at) { return at + (-(unsigned long)at & 7); }

/* Fills an entry: name, one alias, two addresses. */
static enum nss_status fill(int number, struct hostent *entry, char *buffer, size_t bytes, int *error) {
    char *at = align(buffer), *end = buffer + bytes;
    char **aliases = (char **)at, **addresses = aliases + 2;
    unsigned char *first = (unsigned char *)(addresses + 3), *second = first + 4;
    char *name = (char *)second + 4, *alias = name + 32;
    if (alias + 32 > end) {
        *error = ERANGE;
        return NSS_STATUS_TRYAGAIN;
    }
    snprintf(name, 32, "plain-%d.test", number);
    snprintf(alias, 32, "alias-%d.test", number);
    memcpy(first, (unsigned char[]){10, 0, number / 256, number % 256}, 4);
    memcpy(second, (unsigned char[]){10, 1, number / 256, number % 256}, 4);
    aliases[0] = alias, aliases[1] = NULL;
    addresses[0] = (char *)first, addresses[1] = (char *)second, addresses[2] = NULL;
    *entry = (struct hostent){name, aliases, AF_INET, 4, addresses};
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_timestop_gethostbyname2_r(const char *name, int family, struct hostent *entry, char *buffer,
                                               size_t bytes, int *error, int *host_error) {
    int number;
    enter();
    if (strcmp(name, "later.test") == 0) {
        *error = EAGAIN, *host_error = TRY_AGAIN;
        return leave(NSS_STATUS_TRYAGAIN);
    }
    int stuck = sscanf(name, "stuck-%d.test", &number) == 1;
    if (family != AF_INET || (!stuck && sscanf(name, "plain-%d.test", &number) != 1)) {
        *error = ENOENT, *host_error = HOST_NOT_FOUND;
        return leave(NSS_STATUS_NOTFOUND);
    }
    if (stuck)
        while (poll(&(struct pollfd){gate, POLLIN, 0}, 1, -1) < 1) {}
    enum nss_status status = fill(number, entry, buffer, bytes, error);
    *host_error = status == NSS_STATUS_SUCCESS ? NETDB_SUCCESS : NETDB_INTERNAL;
    return leave(status);
}

enum nss_status _nss_timestop_gethostbyname_r(const char *name, struct hostent *entry, char *buffer, size_t bytes,
                                              int *error, int *host_error) {
    return _nss_timestop_gethostbyname2_r(name, AF_INET, entry, buffer, bytes, error, host_error);
}

enum nss_status _nss_timestop_gethostbyaddr_r(const void *address, socklen_t length, int family, struct hostent *entry,
                                              char *buffer, size_t bytes, int *error, int *host_error) {
    const unsigned char *byte = address;
    enter();
    if (family != AF_INET || length != 4 || byte[0] != 10) {
        *error = ENOENT, *host_error = HOST_NOT_FOUND;
        return leave(NSS_STATUS_NOTFOUND);
    }
    enum nss_status status = fill(byte[2] * 256 + byte[3], entry, buffer, bytes, error);
    *host_error = status == NSS_STATUS_SUCCESS ? NETDB_SUCCESS : NETDB_INTERNAL;
    return leave(status);
}
