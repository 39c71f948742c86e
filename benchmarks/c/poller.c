/* Reads 125 words of each of DEVICES connections once a second, by epoll: `poller PORT DEVICES SECONDS`.
 * Prints "CPU-seconds SECONDS polls": what the least takes. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REPLY 259

static const uint8_t request[12] = {0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 125};

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 1;
    int count = atoi(argv[2]), loop = epoll_create1(0), on = 1;
    double seconds = atof(argv[3]);
    int *fds = calloc(count, sizeof *fds);
    size_t *held = calloc(65536, sizeof *held);
    double *due = calloc(count, sizeof *due);
    uint8_t reply[4096];
    for (int i = 0; i < count; i++) {
        struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fds[i], (struct sockaddr *)&there, sizeof there))
            return 1;
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
        epoll_ctl(loop, EPOLL_CTL_ADD, fds[i], &event);
    }
    double began = now(), used = cpu();
    unsigned long polls = 0;
    for (int i = 0; i < count; i++)
        due[i] = began + (double)i / count;
    for (int next = 0; now() - began < seconds;) {
        double wait = due[next] - now();
        struct epoll_event events[64];
        int ready = epoll_wait(loop, events, 64, wait > 0 ? (int)(wait * 1000) + 1 : 0);
        for (int i = 0; i < ready; i++) {
            ssize_t got = recv(events[i].data.fd, reply, sizeof reply, 0);
            if (got <= 0)
                return 1;
            held[events[i].data.fd] += got;
            if (held[events[i].data.fd] >= REPLY) {
                held[events[i].data.fd] -= REPLY;
                polls++;
            }
        }
        for (double at = now(); due[next] <= at; next = (next + 1) % count) {
            if (send(fds[next], request, sizeof request, MSG_NOSIGNAL) < 0)
                return 1;
            due[next] += 1;
        }
    }
    printf("%.6f %.6f %lu\n", cpu() - used, now() - began, polls);
    return 0;
}
