/* A server on libmodbus, for many connections, by epoll. `libmodbus_server` prints its port. */

#include <arpa/inet.h>
#include <modbus/modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    int door = socket(AF_INET, SOCK_STREAM, 0), loop = epoll_create1(0), on = 1;
    modbus_t *link = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *memory = modbus_mapping_new(4000, 4000, 10000, 1000);

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
                event.data.fd = fd;
                epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            modbus_set_socket(link, fd);
            int size = modbus_receive(link, request);
            if (size > 0)
                modbus_reply(link, request, size, memory);
            else if (size < 0)
                close(fd);
        }
    }
}
