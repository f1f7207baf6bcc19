/* A thousand threads, each with a connection of its own to a local server through a C library.
 *
 *     drivers libpq|libmariadb|libcurl|openssl
 *
 * On standard output: what came back, the same for threads and fibers. On standard error: seconds, and the most OS threads that
 * there were. Ports and the certificate are in the environment, as tests/drivers/run.py has them. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <curl/curl.h>
#include <libpq-fe.h>
#include <mysql.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../programs/check.h"

enum { THREADS = 1000, BACKENDS = 200 };

static long results[THREADS];
static pthread_barrier_t all_there;
static sem_t backends;
static SSL_CTX *context;

static int port_of(const char *name) {
    const char *value = getenv(name);
    CHECK(value != NULL);
    return atoi(value);
}

/* PostgreSQL has a process a connection: so many at a time. */
static long with_libpq(int number) {
    char text[200];
    while (sem_wait(&backends) != 0) CHECK(errno == EINTR);
    snprintf(text, sizeof text, "host=localhost port=%d user=postgres dbname=postgres", port_of("PG_PORT"));
    PGconn *connection = PQconnectdb(text);
    if (PQstatus(connection) != CONNECTION_OK) fprintf(stderr, "%s\n", PQerrorMessage(connection));
    CHECK(PQstatus(connection) == CONNECTION_OK);
    snprintf(text, sizeof text, "SELECT %d * 2, pg_sleep(0.05)", number);
    PGresult *result = PQexec(connection, text);
    CHECK(PQresultStatus(result) == PGRES_TUPLES_OK);
    long answer = atol(PQgetvalue(result, 0, 0));
    PQclear(result);
    result = PQexec(connection, "SELECT 1 / 0");
    CHECK(strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22012") == 0);
    PQclear(result);
    PQfinish(connection);
    CHECK(sem_post(&backends) == 0);
    return answer;
}

static long with_libmariadb(int number) {
    char text[100];
    unsigned limit = 60;
    MYSQL *connection = mysql_init(NULL);
    mysql_options(connection, MYSQL_OPT_CONNECT_TIMEOUT, &limit);
    MYSQL *done = mysql_real_connect(connection, "127.0.0.1", "root", "", "test", port_of("MYSQL_PORT"), NULL, 0);
    if (!done) fprintf(stderr, "%s\n", mysql_error(connection));
    CHECK(done);
    snprintf(text, sizeof text, "SELECT %d * 2, SLEEP(0.05)", number);
    CHECK(mysql_query(connection, text) == 0);
    MYSQL_RES *result = mysql_store_result(connection);
    CHECK(result);
    long answer = atol(mysql_fetch_row(result)[0]);
    mysql_free_result(result);
    CHECK(mysql_query(connection, "SELECT no_such_column") != 0 && mysql_errno(connection) == 1054);
    mysql_close(connection);
    mysql_thread_end();
    return answer;
}

static size_t count_bytes(char *bytes, size_t size, size_t count, void *sum) {
    (void)bytes;
    *(long *)sum += size * count;
    return size * count;
}

static long with_libcurl(int number) {
    char text[200];
    long sum = 0, status = 0;
    CURL *handle = curl_easy_init();
    curl_easy_setopt(handle, CURLOPT_CAINFO, getenv("HTTPS_CA"));
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, count_bytes);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &sum);
    for (int turn = 0; turn < 3; turn++) {
        snprintf(text, sizeof text, "https://localhost:%d/echo?n=%d", port_of("HTTPS_PORT"), number + turn);
        curl_easy_setopt(handle, CURLOPT_URL, text);
        CURLcode code = curl_easy_perform(handle);
        if (code != CURLE_OK) fprintf(stderr, "%s\n", curl_easy_strerror(code));
        CHECK(code == CURLE_OK);
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
        CHECK(status == 200);
    }
    curl_easy_cleanup(handle);
    return sum;
}

static long with_openssl(int number) {
    char text[400];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port_of("HTTPS_PORT"))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int socket_ = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(socket_ >= 0 && connect(socket_, (struct sockaddr *)&address, sizeof address) == 0);
    SSL *connection = SSL_new(context);
    CHECK(SSL_set_fd(connection, socket_) && SSL_set1_host(connection, "localhost"));
    CHECK(SSL_connect(connection) == 1);
    int count = snprintf(text, sizeof text, "GET /echo?n=%d HTTP/1.0\r\n\r\n", number), sum = 0;
    CHECK(SSL_write(connection, text, count) == count);
    while ((count = SSL_read(connection, text + sum, sizeof text - 1 - sum)) > 0) sum += count;
    text[sum] = 0;
    char *body = strstr(text, "said ");
    CHECK(body);
    SSL_free(connection);
    close(socket_);
    return atol(body + 5);
}

static const struct {
    const char *name;
    long (*body)(int);
} libraries[] = {
    {"libpq", with_libpq}, {"libmariadb", with_libmariadb}, {"libcurl", with_libcurl}, {"openssl", with_openssl}};
static long (*body)(int);

static void *run(void *number) {
    pthread_barrier_wait(&all_there);
    results[(long)number] = body((long)number);
    return NULL;
}

static int os_threads(void) {
    char line[200];
    int count = 0;
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status);
    while (fgets(line, sizeof line, status)) sscanf(line, "Threads: %d", &count);
    fclose(status);
    return count;
}

int main(int count, char **arguments) {
    static pthread_t threads[THREADS];
    struct timespec begin, end;
    struct rlimit limit;
    CHECK(count == 2);
    for (int i = 0; i < 4; i++) {
        if (strcmp(arguments[1], libraries[i].name) == 0) body = libraries[i].body;
    }
    CHECK(body);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    mysql_library_init(0, NULL, NULL);
    curl_global_init(CURL_GLOBAL_ALL);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    CHECK(SSL_CTX_load_verify_locations(context, getenv("HTTPS_CA"), NULL));
    CHECK(sem_init(&backends, 0, BACKENDS) == 0);
    OK(pthread_barrier_init(&all_there, NULL, THREADS + 1));
    for (long i = 0; i < THREADS; i++) OK(pthread_create(&threads[i], NULL, run, (void *)i));
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pthread_barrier_wait(&all_there);
    int most = os_threads();
    long sum = 0;
    for (int i = 0; i < THREADS; i++) {
        OK(pthread_join(threads[i], NULL));
        if (i % 50 == 0) {
            int now = os_threads();
            if (now > most) most = now;
        }
        sum += results[i] * (i % 7 + 1);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    fprintf(stderr, "seconds: %.2f\nOS threads: %d\n", end.tv_sec - begin.tv_sec + (end.tv_nsec - begin.tv_nsec) / 1e9, most);
    printf("%s: %d connections, sum %ld\n", arguments[1], THREADS, sum);
    return 0;
}
