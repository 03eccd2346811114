/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Linux host of the chip in plain i2c-dev calls, as SPEC a71ch 5.6 to 5.8 has them: nothing of
 * src/ is in it, so that it reads the specification a second time.
 *
 * usage: i2c_client [--big] [--cut] DEVICE APDU...
 * Prints the ATR, and a response for each APDU, in hex. --big asks for frames of 254 bytes and reads
 * past their end; --cut exits after the first piece of the first APDU, as a program that crashes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CHIP = 0x48, FRAME = 257, CHUNK = 253, RESPONSE = 300 };

struct host {
    int fd;
    bool big;
    unsigned sequence;
    unsigned refused_wake_ups;
    unsigned polls;
    unsigned frames; /* of the last response */
};

static void
die(const char *what)
{
    fprintf(stderr, "i2c_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Write `pcb`, repeated start, read [LEN][PCB'][data]. Gives LEN, or -1 with errno. */
static int
request(struct host *h, uint8_t pcb, uint8_t frame[FRAME])
{
    struct i2c_msg m[2] = {
        { .addr = CHIP, .len = 1, .buf = &pcb },
        { .addr = CHIP, .flags = I2C_M_RD | I2C_M_RECV_LEN, .len = 256, .buf = frame },
    };
    struct i2c_rdwr_ioctl_data all = { m, 2 };

    if (h->big) {
        m[1].flags = I2C_M_RD;
        m[1].len = 255;
    }
    frame[0] = 1;
    usleep(1000);
    if (ioctl(h->fd, I2C_RDWR, &all) != 2)
        return -1;
    usleep(1000);
    return frame[0];
}

/* The status half-byte, -1 when nothing answers. */
static int
status(struct host *h)
{
    uint8_t frame[FRAME];

    h->polls++;
    if (request(h, 0x07, frame) != 1 || (frame[1] & 0x0f) != 0x07)
        return -1;
    return frame[1] >> 4;
}

static void
wait_ready(struct host *h, const char *what)
{
    for (int i = 0; i < 5000; i++) {
        int s = status(h);

        if (s == 0)
            return;
        if (s > 1) {
            fprintf(stderr, "i2c_client: %s: exception %X\n", what, (unsigned)s);
            exit(1);
        }
        usleep(2000);
    }
    die(what);
}

static void
print_hex(const uint8_t *bytes, int len)
{
    for (int i = 0; i < len; i++)
        printf("%02x", bytes[i]);
    puts("");
}

/* SPEC 5.6 */
static void
start(struct host *h)
{
    uint8_t frame[FRAME];
    uint8_t code = h->big ? 3 : 0;
    int tries = 0;
    int len;

    while (status(h) != 0) {
        if (++tries == 70)
            die("the chip does not become ready");
        (void)request(h, 0x1f, frame);
        usleep(100000);
    }
    if (request(h, 0x1f, frame) != 1 || (frame[1] & 0x8f) == 0x87)
        die("soft reset");
    usleep(10000);
    len = request(h, 0x2f, frame);
    if (len < 2)
        die("ATR");
    print_hex(&frame[2], len - 1);
    if (request(h, (uint8_t)(code << 6 | 0x3f), frame) != 1 || frame[1] >> 6 != code ||
        (frame[1] >> 4 & 3) != (~frame[1] >> 2 & 3))
        die("parameter exchange");
}

/* SPEC 5.7, steps 1 to 3 */
static void
command(struct host *h, const uint8_t *apdu, size_t len, bool cut)
{
    static const uint8_t wake_up = 0x0f;
    uint8_t frame[FRAME];

    if (write(h->fd, &wake_up, 1) != 1)
        h->refused_wake_ups++;
    usleep(200);
    for (size_t at = 0; at < len; at += CHUNK) {
        size_t n = len - at < CHUNK ? len - at : CHUNK;
        bool more = at + n < len || cut;

        frame[0] = (uint8_t)((more ? 0x80 : 0) | h->sequence++ % 8 << 4);
        frame[1] = (uint8_t)n;
        memcpy(&frame[2], &apdu[at], n);
        if (write(h->fd, frame, n + 2) != (ssize_t)n + 2)
            die("write");
        if (cut)
            exit(0);
        usleep(200);
        wait_ready(h, "command");
    }
}

/* Step 4 */
static int
response(struct host *h, uint8_t out[RESPONSE])
{
    uint8_t pcb = 0x82;
    int have = 0;

    for (h->frames = 1;; h->frames++) {
        uint8_t frame[FRAME];
        int len = request(h, pcb, frame);

        if (len < 2 || have + len - 1 > RESPONSE)
            die("response");
        memcpy(&out[have], &frame[2], (size_t)len - 1);
        have += len - 1;
        if ((frame[1] & 0x80) == 0)
            return have;
        pcb = 0x02;
    }
}

static size_t
from_hex(const char *text, uint8_t out[RESPONSE])
{
    size_t len = 0;

    for (; text[0] != '\0' && text[1] != '\0' && len < RESPONSE; text += 2) {
        char digits[3] = { text[0], text[1], '\0' };

        out[len++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return len;
}

static void
open_device(struct host *h, const char *path)
{
    unsigned long functions = 0;

    h->fd = open(path, O_RDWR);
    if (h->fd < 0)
        die(path);
    if (ioctl(h->fd, I2C_SLAVE, CHIP) != 0 || ioctl(h->fd, I2C_PEC, 0) != 0)
        die("I2C_SLAVE, I2C_PEC");
    if (ioctl(h->fd, I2C_FUNCS, &functions) != 0 || (functions & I2C_FUNC_I2C) == 0 ||
        (functions & I2C_FUNC_SMBUS_READ_BLOCK_DATA) == 0)
        die("I2C_FUNCS");
}

int
main(int argc, char **argv)
{
    struct host h = { 0 };
    bool cut = false;
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        h.big = h.big || strcmp(argv[i], "--big") == 0;
        cut = cut || strcmp(argv[i], "--cut") == 0;
    }
    if (i + 1 >= argc) {
        fputs("usage: i2c_client [--big] [--cut] DEVICE APDU...\n", stderr);
        return 2;
    }
    open_device(&h, argv[i]);
    start(&h);
    for (i++; i < argc; i++) {
        uint8_t bytes[RESPONSE];

        command(&h, bytes, from_hex(argv[i], bytes), cut);
        print_hex(bytes, response(&h, bytes));
    }
    printf("wake-ups refused: %u, status polls: %u, frames of the last response: %u\n",
        h.refused_wake_ups, h.polls, h.frames);
    return close(h.fd) == 0 ? 0 : 1;
}
