/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: the SCI2C master against a chip that lies. The input is what the bus does: for each
 * transfer one byte (below 80: fine; else which error), and for a read a length byte and as many
 * bytes, of which the kernel takes up to 32. When it ends, nobody answers any more. Whatever comes,
 * each call must end, on a clock that only sleeping moves.
 */
#include "a71ch.h"
#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "/dev/i2c-fuzz"

static struct {
    struct rd script;
    int64_t now_us;
    int fd;
    unsigned transfers;
} bus = { .fd = -1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __real_open64(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
ssize_t __real_write(int fd, const void *data, size_t len);
int __real_flock(int fd, int operation);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_flock(int fd, int operation);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

/* One transfer's fate: 0, or errno. */
static int
fate(void)
{
    static const int errors[] = { ENXIO, EREMOTEIO, EAGAIN, ETIMEDOUT, EPROTO, EIO };
    uint8_t byte = rd_left(&bus.script) > 0 ? rd_u8(&bus.script) : 0x80;

    bus.now_us += 200;
    if (++bus.transfers > 100000) /* it would never end */
        abort();
    return byte < 0x80 ? 0 : errors[(byte - 0x80) % (sizeof errors / sizeof *errors)];
}

int
__wrap_open64(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = va_arg(ap, mode_t);
    va_end(ap);
    if (strcmp(path, DEVICE) != 0)
        return __real_open64(path, flags, mode);
    bus.fd = __real_open64("/dev/null", O_RDWR | O_CLOEXEC, 0);
    return bus.fd;
}

int
__wrap_open(const char *path, int flags, ...)
{
    return __wrap_open64(path, flags, 0600);
}

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
    const struct i2c_rdwr_ioctl_data *all;
    void *arg;
    va_list ap;
    struct span got;
    uint8_t len;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (fd != bus.fd)
        return __real_ioctl(fd, request, arg);
    if (request == I2C_FUNCS)
        *(unsigned long *)arg = I2C_FUNC_I2C | I2C_FUNC_SMBUS_READ_BLOCK_DATA;
    if (request != I2C_RDWR)
        return 0;
    all = arg;
    errno = fate();
    if (errno != 0)
        return -1;
    len = rd_u8(&bus.script);
    if (len == 0 || len > 32) { /* as the kernel refuses it */
        errno = EPROTO;
        return -1;
    }
    got = rd_span(&bus.script, len < rd_left(&bus.script) ? len : rd_left(&bus.script));
    all->msgs[1].buf[0] = len;
    memset(&all->msgs[1].buf[1], 0xff, len);
    if (got.len > 0)
        memcpy(&all->msgs[1].buf[1], got.ptr, got.len);
    return 2;
}

ssize_t
__wrap_write(int fd, const void *data, size_t len)
{
    if (fd != bus.fd)
        return __real_write(fd, data, len);
    errno = fate();
    return errno == 0 ? (ssize_t)len : -1;
}

int
__wrap_flock(int fd, int operation)
{
    return fd == bus.fd ? 0 : __real_flock(fd, operation);
}

int
__wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
    (void)left;
    bus.now_us += t->tv_sec * 1000000 + t->tv_nsec / 1000;
    return 0;
}

int
__wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    (void)clock;
    *out =
        (struct timespec){ .tv_sec = bus.now_us / 1000000, .tv_nsec = bus.now_us % 1000000 * 1000 };
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const a71ch_options options = { .connect_timeout_ms = 500, .answer_timeout_ms = 500 };
    static const uint8_t hash[A71CH_HASH_LEN] = { 1 };
    uint8_t out[300] = { 0 };
    size_t len = A71CH_SIGNATURE_MAX;
    a71ch *chip;

    bus.script = rd_of(span_of(data, size));
    bus.now_us = 1700000000000000;
    bus.transfers = 0;
    if (a71ch_open("i2c:" DEVICE, &options, &chip) == A71CH_OK) {
        if (a71ch_pair_sign(chip, 0, hash, out, &len) == A71CH_OK && len > A71CH_SIGNATURE_MAX)
            abort();
        if (a71ch_gp_read(chip, 0, out, 200) != A71CH_OK ||
            a71ch_gp_write(chip, 0, out, sizeof out) != A71CH_OK)
            len = strlen(a71ch_message(chip)); /* there is a sentence */
    }
    a71ch_close(chip);
    bus.fd = -1;
    return 0;
}
