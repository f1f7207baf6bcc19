/* What the C programs share: a check that ends the program, and a PASS line for each theme that held. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with a message unless `condition` holds. */
#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: not so: %s (errno: %s)\n", __FILE__, __LINE__, #condition, \
                    strerror(errno));                                                          \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

/* For calls of the pthread kind, which return their error. */
#define OK(call)                                                                          \
    do {                                                                                  \
        int result_ = (call);                                                             \
        if (result_ != 0) {                                                               \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, strerror(result_)); \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

#define PASS(theme)                     \
    do {                                \
        printf("PASS %s\n", (theme));   \
        fflush(stdout);                 \
    } while (0)

#endif
