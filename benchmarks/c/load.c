/* Load for a Modbus TCP server: `load PORT CONNECTIONS OUTSTANDING SECONDS OPERATION`.
 *
 * Keeps so many requests out on each connection, and counts the replies. OPERATION is one of fc03-10, fc03-125, fc16-123,
 * fc01-2000, fc23-10. Prints "requests SECONDS" for what was answered, or says what was wrong and ends with 1. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

#define MOST 1024
#define FRAME 260
#define BUFFER (64 * FRAME)

static struct link {
    int fd;
    size_t held;
    uint8_t data[BUFFER];
} links[MOST];

static uint8_t request[FRAME];
static size_t request_size, reply_size;
static uint8_t reply_function;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static void put(size_t at, unsigned value)
{
    request[at] = value >> 8;
    request[at + 1] = value & 0xFF;
}

static void make_request(const char *operation)
{
    unsigned pdu = 5, reply = 0;
    request[6] = 1;
    put(8, 0);
    if (!strcmp(operation, "fc03-10") || !strcmp(operation, "fc03-125")) {
        unsigned words = !strcmp(operation, "fc03-10") ? 10 : 125;
        request[7] = 3;
        put(10, words);
        reply = 2 + 2 * words;
    } else if (!strcmp(operation, "fc01-2000")) {
        request[7] = 1;
        put(10, 2000);
        reply = 2 + 250;
    } else if (!strcmp(operation, "fc16-123")) {
        request[7] = 16;
        put(10, 123);
        request[12] = 246;
        pdu = 6 + 246;
        reply = 5;
    } else if (!strcmp(operation, "fc23-10")) {
        request[7] = 23;
        put(10, 10);
        put(12, 20);
        put(14, 10);
        request[16] = 20;
        pdu = 10 + 20;
        reply = 2 + 20;
    } else {
        fprintf(stderr, "no such operation: %s\n", operation);
        exit(1);
    }
    put(4, pdu + 1);
    request_size = 7 + pdu;
    reply_size = 7 + reply;
    reply_function = request[7];
}

static void ask(struct link *link, unsigned times)
{
    static uint8_t out[BUFFER];
    for (unsigned i = 0; i < times; i++)
        memcpy(out + i * request_size, request, request_size);
    size_t size = times * request_size, sent = 0;
    while (sent < size) {
        ssize_t done = send(link->fd, out + sent, size - sent, MSG_NOSIGNAL);
        if (done < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (done < 0)
            fail("send");
        sent += done;
    }
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "load PORT CONNECTIONS OUTSTANDING SECONDS OPERATION\n");
        return 1;
    }
    unsigned port = atoi(argv[1]), count = atoi(argv[2]), outstanding = atoi(argv[3]);
    double seconds = atof(argv[4]);
    int loop = epoll_create1(0);
    make_request(argv[5]);
    for (unsigned i = 0; i < count && i < MOST; i++) {
        struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET, .sin_port = htons(port)};
        int on = 1;
        links[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        here.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 * (1 + i / 8)); /* servers limit connections by address */
        there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(links[i].fd, (struct sockaddr *)&here, sizeof here) || connect(links[i].fd, (struct sockaddr *)&there, sizeof there))
            fail("connect");
        setsockopt(links[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(links[i].fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &links[i]};
        epoll_ctl(loop, EPOLL_CTL_ADD, links[i].fd, &event);
    }
    for (unsigned i = 0; i < count; i++)
        ask(&links[i], outstanding);
    unsigned long answered = 0;
    double began = now(), warm = began + seconds / 10, end = warm + seconds;
    int counting = 0;
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(loop, events, 64, 1000);
        double at = now();
        if (!counting && at >= warm) {
            counting = 1;
            answered = 0;
            began = at;
        }
        if (at >= end)
            break;
        for (int i = 0; i < ready; i++) {
            struct link *link = events[i].data.ptr;
            ssize_t got = recv(link->fd, link->data + link->held, BUFFER - link->held, 0);
            if (got <= 0) {
                if (got < 0 && (errno == EAGAIN || errno == EINTR))
                    continue;
                fail("the server has closed");
            }
            link->held += got;
            size_t start = 0;
            unsigned whole = 0;
            for (; link->held - start >= reply_size; start += reply_size, whole++)
                if (link->data[start + 7] != reply_function || (size_t)(link->data[start + 4] << 8 | link->data[start + 5]) + 6 != reply_size) {
                    fprintf(stderr, "a wrong reply: function %02X\n", link->data[start + 7]);
                    return 1;
                }
            link->held -= start;
            memmove(link->data, link->data + start, link->held);
            answered += whole;
            if (whole)
                ask(link, whole);
        }
    }
    printf("%lu %.6f\n", answered, now() - began);
    return 0;
}
