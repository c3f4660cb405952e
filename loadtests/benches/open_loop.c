/* An open-loop load generator: request number i is due at i / rate, whether or not earlier ones are answered.
 *
 * open_loop PORT CONNECTIONS RATE SECONDS < requests
 *
 * Standard input has the requests, each followed by a byte 0; they are sent in turn. It behaves like a gateway with a pool of connections
 * and no queue: each connection carries one request at a time, and a request that is due while all connections are busy is not sent.
 * The first fifth of the time is a warm-up and is not counted. Prints one JSON object: the number of requests that were due, of right
 * answers (200 or 429 with numbers), of 503, of other answers (degraded ones too), of requests that found no connection, and percentiles of
 * the time from due to answered, in milliseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_REQUESTS = 65536, BUFFER = 16384, EVENTS = 1024, SLOTS = 200000 };
enum { RIGHT, SHED, OTHER, KINDS };

struct connection {
    int fd, length, counted;
    double due;
    char buffer[BUFFER];
};

/* Percentiles come from counts of answers by their time in steps of 50 us. */
struct tally {
    long number[KINDS];
    int slots[KINDS][SLOTS];
};

static char *requests[MOST_REQUESTS];
static size_t lengths[MOST_REQUESTS];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int read_requests(void) {
    size_t size = 1 << 24;
    char *text = malloc(size);
    size_t length = fread(text, 1, size, stdin);
    int count = 0;
    for (char *at = text; at < text + length && count < MOST_REQUESTS; at += lengths[count++] + 1) {
        requests[count] = at;
        lengths[count] = strlen(at);
    }
    return count;
}

static int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* The kind of the answer once it is complete, otherwise -1. */
static int kind_of(struct connection *connection) {
    char *buffer = connection->buffer;
    buffer[connection->length] = 0;
    char *end = strstr(buffer, "\r\n\r\n");
    if (!end) return -1;
    char *length = strcasestr(buffer, "content-length:");
    if (!length || length > end) {
        fprintf(stderr, "an answer must have a Content-Length: %s", buffer);
        exit(1);
    }
    if (connection->length < end + 4 - buffer + atoi(length + 15)) return -1;
    int status = atoi(buffer + 9);
    if (status == 503 && !strstr(buffer, "x-ratelimit-degraded")) return SHED;
    return (status == 200 || status == 429) && strcasestr(buffer, "x-ratelimit-remaining") ? RIGHT : OTHER;
}

static double percentile(struct tally *tally, int kind, double share) {
    long seen = 0;
    for (int slot = 0; slot < SLOTS; slot++)
        if ((seen += tally->slots[kind][slot]) > tally->number[kind] * share) return slot * 0.05;
    return SLOTS * 0.05;
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "open_loop PORT CONNECTIONS RATE SECONDS < requests\n");
        return 2;
    }
    int port = atoi(arguments[1]), size = atoi(arguments[2]), number = read_requests();
    double rate = atof(arguments[3]), seconds = atof(arguments[4]);
    struct connection *connections = calloc(size, sizeof *connections);
    struct tally *tally = calloc(1, sizeof *tally);
    /* A ring of free connections: the one that has been free longest is used next. */
    int *ring = malloc(size * sizeof *ring), first = 0, free_ones = size;
    int poll = epoll_create1(0);
    for (int i = 0; i < size; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        connections[i].fd = connect_to(port);
        ring[i] = i;
        /* One request before the clock starts: a busy server accepts connections slowly. */
        if (send(connections[i].fd, requests[0], lengths[0], 0) < 0) fail("send");
        do connections[i].length += recv(connections[i].fd, connections[i].buffer, BUFFER - 1, 0);
        while (kind_of(&connections[i]) < 0);
        if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].fd, &event) < 0) fail("epoll_ctl");
    }

    double start = now(), counted_from = start + seconds / 5, end = start + seconds, at;
    long due = 0, counted = 0, unsent = 0;
    struct epoll_event events[EVENTS];
    while ((at = now()) < end + 2 && (at < end || free_ones < size)) {
        /* Redis may run on the same core, so the generator sleeps when it can. */
        double wait = at < end && free_ones ? start + due / rate - at : 0.001;
        struct timespec timeout = {.tv_nsec = wait < 0.0001 ? 1e5 : wait > 0.001 ? 1e6 : wait * 1e9};
        int ready = epoll_pwait2(poll, events, EVENTS, &timeout, NULL);
        if (ready < 0 && errno != EINTR) fail("epoll_pwait2");
        at = now();
        for (int i = 0; i < ready; i++) {
            struct connection *connection = &connections[events[i].data.u32];
            long received = recv(connection->fd, connection->buffer + connection->length, BUFFER - 1 - connection->length, 0);
            if (received <= 0) fail("the server closed a connection");
            connection->length += received;
            int kind = kind_of(connection);
            if (kind < 0) continue;
            if (connection->counted) {
                double slot = (at - connection->due) * 20000;
                tally->number[kind]++;
                tally->slots[kind][slot < SLOTS ? (int)slot : SLOTS - 1]++;
            }
            ring[(first + free_ones++) % size] = events[i].data.u32;
        }
        for (; at < end && start + due / rate <= at; due++) {
            double due_at = start + due / rate;
            int counts = due_at >= counted_from;
            counted += counts;
            if (!free_ones) {
                unsent += counts;
                continue;
            }
            struct connection *connection = &connections[ring[first]];
            first = (first + 1) % size;
            free_ones--;
            connection->due = due_at;
            connection->counted = counts;
            connection->length = 0;
            long length = lengths[due % number];
            if (send(connection->fd, requests[due % number], length, 0) != length) fail("send");
        }
    }
    printf("{\"due\": %ld, \"right\": %ld, \"shed\": %ld, \"other\": %ld, \"unsent\": %ld, ", counted, tally->number[RIGHT],
           tally->number[SHED], tally->number[OTHER], unsent);
    printf("\"p50_ms\": %.2f, \"p99_ms\": %.2f, \"shed_p99_ms\": %.2f, \"seconds\": %.3f}\n", percentile(tally, RIGHT, 0.5),
           percentile(tally, RIGHT, 0.99), percentile(tally, SHED, 0.99), seconds * 0.8);
    return 0;
}
