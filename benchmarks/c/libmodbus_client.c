/* Polls WORDS holding registers, 125 at a time, again and again, by libmodbus: `libmodbus_client PORT WORDS SECONDS`.
 * Prints "cycles SECONDS". */

#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static uint16_t words[65536];
    if (argc != 4)
        return 1;
    modbus_t *link = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
    int count = atoi(argv[2]);
    double seconds = atof(argv[3]);
    if (modbus_connect(link))
        return 1;
    unsigned long cycles = 0;
    double began = now();
    while (now() - began < seconds) {
        for (int at = 0; at < count; at += 125) {
            int size = count - at < 125 ? count - at : 125;
            if (modbus_read_registers(link, at, size, words + at) != size)
                return 1;
        }
        cycles++;
    }
    printf("%lu %.6f\n", cycles, now() - began);
    return 0;
}
