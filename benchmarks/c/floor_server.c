/* The floor: the least that a Modbus TCP server can do, with epoll over a plain array. `floor_server` prints its port.
 *
 * Functions 1, 3, 16 and 23 on 65536 words; no checks but of sizes. All whole frames of a segment get one write.
 * `floor_server changing` changes the first word of each read before it answers.
 * Words 65532 to 65535 are the nanoseconds of CLOCK_MONOTONIC at the last function 16. */

#include <arpa/inet.h>
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

#define BUFFER 65536

static uint8_t memory[2 * 65536 + 512]; /* words as they travel */

static struct link {
    int fd;
    size_t held;
    uint8_t data[BUFFER];
} *links[65536];

static int changing;

static unsigned get(const uint8_t *at)
{
    return at[0] << 8 | at[1];
}

static void stamp(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t nanoseconds = at.tv_sec * 1000000000ULL + at.tv_nsec;
    for (int i = 0; i < 8; i++)
        memory[2 * 65532 + i] = nanoseconds >> 8 * (7 - i);
}

static size_t answer(const uint8_t *frame, uint8_t *out)
{
    const uint8_t *pdu = frame + 7;
    unsigned address = get(pdu + 1), count = get(pdu + 3), size;
    memcpy(out, frame, 8);
    switch (pdu[0]) {
    case 1:
        size = (count + 7) / 8;
        out[8] = size;
        memcpy(out + 9, memory + address / 8, size);
        size += 2;
        break;
    case 3:
        memory[2 * address + 1] += changing;
        out[8] = 2 * count;
        memcpy(out + 9, memory + 2 * address, 2 * count);
        size = 2 + 2 * count;
        break;
    case 16:
        memcpy(memory + 2 * address, pdu + 6, 2 * count);
        stamp();
        memcpy(out + 8, pdu + 1, 4);
        size = 5;
        break;
    case 23:
        memcpy(memory + 2 * get(pdu + 5), pdu + 10, pdu[9]);
        out[8] = 2 * count;
        memcpy(out + 9, memory + 2 * address, 2 * count);
        size = 2 + 2 * count;
        break;
    default:
        out[7] |= 0x80;
        out[8] = 1;
        size = 2;
    }
    out[4] = (size + 1) >> 8;
    out[5] = (size + 1) & 0xFF;
    return 7 + size;
}

int main(int argc, char **argv)
{
    changing = argc > 1;
    (void)argv;
    static uint8_t out[BUFFER * 8];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    int door = socket(AF_INET, SOCK_STREAM, 0), loop = epoll_create1(0), on = 1;
    if (bind(door, (struct sockaddr *)&here, sizeof here) || listen(door, 1024) || getsockname(door, (struct sockaddr *)&here, &length))
        return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = door};
    epoll_ctl(loop, EPOLL_CTL_ADD, door, &event);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(loop, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == door) {
                fd = accept(door, NULL, NULL);
                if (fd < 0)
                    continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                links[fd] = calloc(1, sizeof **links);
                links[fd]->fd = fd;
                event.data.fd = fd;
                epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            struct link *link = links[fd];
            ssize_t got = recv(fd, link->data + link->held, BUFFER - link->held, 0);
            if (got <= 0) {
                close(fd);
                free(link);
                continue;
            }
            link->held += got;
            size_t start = 0, size = 0;
            while (link->held - start >= 7 && link->held - start >= 6 + get(link->data + start + 4)) {
                size += answer(link->data + start, out + size);
                start += 6 + get(link->data + start + 4);
            }
            link->held -= start;
            memmove(link->data, link->data + start, link->held);
            if (size && send(fd, out, size, MSG_NOSIGNAL) < 0)
                close(fd);
        }
    }
}
