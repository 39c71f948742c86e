/* A server on libmodbus: `server PORT`, or `server /dev/...` for RTU. Its memory is looked at and changed over standard input; see programs.py. */

#include <errno.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORDS 120
#define INPUTS 20
#define BITS 40
#define LINE 4096

static modbus_mapping_t *memory;

static int value_at(const char *table, int address)
{
    if (!strcmp(table, "holding"))
        return memory->tab_registers[address];
    if (!strcmp(table, "input"))
        return memory->tab_input_registers[address];
    return !strcmp(table, "coil") ? memory->tab_bits[address] : memory->tab_input_bits[address];
}

static void put(const char *table, int address, int value)
{
    if (!strcmp(table, "holding"))
        memory->tab_registers[address] = value;
    else if (!strcmp(table, "input"))
        memory->tab_input_registers[address] = value;
    else if (!strcmp(table, "coil"))
        memory->tab_bits[address] = value;
    else
        memory->tab_input_bits[address] = value;
}

/* get TABLE ADDRESS COUNT, or set TABLE ADDRESS VALUE... */
static void obey(char *line)
{
    char *verb = strtok(line, " \n");
    char *table = strtok(NULL, " \n");
    int address = atoi(strtok(NULL, " \n"));
    char *word;

    if (!strcmp(verb, "get")) {
        int count = atoi(strtok(NULL, " \n"));
        for (int i = 0; i < count; i++)
            printf(i ? " %d" : "%d", value_at(table, address + i));
        printf("\n");
    } else {
        while ((word = strtok(NULL, " \n")) != NULL)
            put(table, address++, atoi(word));
        printf("ok\n");
    }
}

/* Standard input without a buffer of its own: select() must see all that is there. */
static int listen_to_input(void)
{
    static char line[LINE];
    static size_t length;
    ssize_t got = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
    char *end;

    if (got <= 0)
        return 0;
    length += got;
    line[length] = '\0';
    while ((end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        size_t used = end + 1 - line;
        obey(line);
        memmove(line, line + used, length - used + 1);
        length -= used;
    }
    return 1;
}

int main(int argc, char **argv)
{
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    fd_set all;
    const char *where = argv[argc - 1];
    int serial = where[0] == '/';
    modbus_t *link = serial ? modbus_new_rtu(where, 115200, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", atoi(where));
    int door;

    if (serial) {
        modbus_set_slave(link, 1);
        door = modbus_connect(link) < 0 ? -1 : modbus_get_socket(link);
    } else {
        door = modbus_tcp_listen(link, 8);
    }

    memory = modbus_mapping_new(BITS, BITS, WORDS, INPUTS);
    if (door < 0 || memory == NULL) {
        fprintf(stderr, "cannot listen: %s\n", modbus_strerror(errno));
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready\n");
    FD_ZERO(&all);
    FD_SET(STDIN_FILENO, &all);
    FD_SET(door, &all);
    for (;;) {
        fd_set now = all;
        if (select(FD_SETSIZE, &now, NULL, NULL, NULL) < 0)
            return 1;
        for (int fd = 0; fd < FD_SETSIZE; fd++) {
            if (!FD_ISSET(fd, &now))
                continue;
            if (fd == STDIN_FILENO) {
                if (!listen_to_input())
                    return 0;
            } else if (fd == door && !serial) {
                int visitor = accept(door, NULL, NULL);
                if (visitor >= 0)
                    FD_SET(visitor, &all);
            } else {
                if (!serial)
                    modbus_set_socket(link, fd);
                int length = modbus_receive(link, request);
                if (length > 0) {
                    modbus_reply(link, request, length, memory);
                } else if (length < 0 && !serial) {
                    close(fd);
                    FD_CLR(fd, &all);
                }
            }
        }
    }
}
