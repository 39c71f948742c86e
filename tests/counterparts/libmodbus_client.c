/* A client on libmodbus: `client PORT`, or `client /dev/...` for RTU. It is told over standard input what to ask; see programs.py. */

#include <errno.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 4096
#define MANY 2000

static modbus_t *link_;

static int number(void)
{
    char *word = strtok(NULL, " \n");
    return word == NULL ? -1 : atoi(word);
}

static int numbers(uint16_t *words, uint8_t *bits)
{
    int count = 0;
    for (int value; (value = number()) >= 0; count++) {
        words[count] = value;
        bits[count] = value;
    }
    return count;
}

static void tell(int done, const uint16_t *words, const uint8_t *bits, int count)
{
    if (done < 0 && errno > MODBUS_ENOBASE && errno < EMBXGTAR + 1) {
        printf("exception %d\n", errno - MODBUS_ENOBASE);
    } else if (done < 0) {
        printf("error %s\n", modbus_strerror(errno));
    } else if (words == NULL && bits == NULL) {
        printf("ok\n");
    } else {
        for (int i = 0; i < count; i++)
            printf(i ? " %d" : "%d", words ? words[i] : bits[i]);
        printf("\n");
    }
}

static void ask(char *line)
{
    static uint16_t words[MANY];
    static uint8_t bits[MANY];
    char *verb = strtok(line, " \n");
    modbus_set_slave(link_, number());

    if (!strcmp(verb, "mask")) {
        int address = number(), keep = number(), put = number();
        tell(modbus_mask_write_register(link_, address, keep, put), NULL, NULL, 0);
    } else if (!strcmp(verb, "readwrite")) {
        uint16_t answer[MANY];
        int from = number(), count = number(), to = number(), given = numbers(words, bits);
        tell(modbus_write_and_read_registers(link_, to, given, words, from, count, answer), answer, NULL, count);
    } else if (!strcmp(verb, "read")) {
        char *table = strtok(NULL, " \n");
        int address = number(), count = number();
        if (!strcmp(table, "holding"))
            tell(modbus_read_registers(link_, address, count, words), words, NULL, count);
        else if (!strcmp(table, "input"))
            tell(modbus_read_input_registers(link_, address, count, words), words, NULL, count);
        else if (!strcmp(table, "coil"))
            tell(modbus_read_bits(link_, address, count, bits), NULL, bits, count);
        else
            tell(modbus_read_input_bits(link_, address, count, bits), NULL, bits, count);
    } else {
        int coil = !strcmp(strtok(NULL, " \n"), "coil");
        int address = number(), count = numbers(words, bits);
        if (!strcmp(verb, "single"))
            tell(coil ? modbus_write_bit(link_, address, bits[0]) : modbus_write_register(link_, address, words[0]), NULL, NULL, 0);
        else
            tell(coil ? modbus_write_bits(link_, address, count, bits) : modbus_write_registers(link_, address, count, words), NULL, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    static char line[LINE];

    const char *where = argv[argc - 1];

    link_ = where[0] == '/' ? modbus_new_rtu(where, 115200, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", atoi(where));
    modbus_set_response_timeout(link_, 5, 0);
    if (modbus_connect(link_) < 0) {
        fprintf(stderr, "cannot connect: %s\n", modbus_strerror(errno));
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready\n");
    while (fgets(line, sizeof line, stdin) != NULL)
        ask(line);
    modbus_close(link_);
    return 0;
}
