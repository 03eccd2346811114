/* SPDX-License-Identifier: Apache-2.0 */
/*
 * a71ch-i2c-shim.so: lets unmodified programs find a simulated I2C bus as /dev/i2c-N.
 *
 * Preloaded, with A71CH_I2C_BUS=N:PATH, it turns open("/dev/i2c-N") into a connection to the socket
 * `a71chd --listen i2c-unix:PATH`, and the i2c-dev calls on that descriptor into bus transactions
 * (wire/i2cbus.h). All other paths and descriptors pass through.
 *
 * The one place in the project with file-scope state: a preloaded library has no other. It is a
 * small table of descriptors with what i2c-dev keeps per open file. An entry is believed only while
 * the descriptor still is that socket (device and inode), so dup2 or a close we did not see does no
 * harm. Not covered: descriptors inherited over exec, fcntl(F_DUPFD), readv, fopen, sysfs.
 */
#include "wire/i2cbus.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    OPEN_MAX_HERE = 64,
    ANSWER_TIMEOUT_S = 10,
    ADDRESS_MAX = 0x7f,
    TRANSFER_MAX = 8192, /* of one message, as in Linux */
};

static const unsigned long functions =
    I2C_FUNC_I2C | I2C_FUNC_SMBUS_QUICK | I2C_FUNC_SMBUS_BYTE | I2C_FUNC_SMBUS_READ_BLOCK_DATA;

struct open_bus {
    int fd; /* -1: free */
    dev_t dev;
    ino_t ino;
    uint8_t address;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct open_bus table[OPEN_MAX_HERE];
static size_t table_used;

/* The functions that we stand in front of. */
static struct real {
    int (*open)(const char *, int, ...);
    int (*openat)(int, const char *, int, ...);
    int (*ioctl)(int, unsigned long, ...);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    int (*close)(int);
    int (*dup)(int);
} real;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
find_real(void)
{
    /* a data pointer into a function pointer: POSIX allows it, ISO C has no words for it */
    *(void **)&real.open = dlsym(RTLD_NEXT, "open64");
    *(void **)&real.openat = dlsym(RTLD_NEXT, "openat64");
    *(void **)&real.ioctl = dlsym(RTLD_NEXT, "ioctl");
    *(void **)&real.read = dlsym(RTLD_NEXT, "read");
    *(void **)&real.write = dlsym(RTLD_NEXT, "write");
    *(void **)&real.close = dlsym(RTLD_NEXT, "close");
    *(void **)&real.dup = dlsym(RTLD_NEXT, "dup");
}

static const struct real *
next(void)
{
    (void)pthread_once(&once, find_real);
    return &real;
}

/* Is `path` our bus? Then its socket's path goes to `to`. */
static bool
is_bus(const char *path, struct sockaddr_un *to)
{
    const char *bus = getenv("A71CH_I2C_BUS");
    const char *colon = bus != NULL ? strchr(bus, ':') : NULL;
    char device[32];
    size_t digits = colon != NULL ? (size_t)(colon - bus) : 0;

    if (path == NULL || digits == 0 || digits > 9 || strspn(bus, "0123456789") != digits ||
        strlen(&colon[1]) >= sizeof to->sun_path)
        return false;
    (void)snprintf(device, sizeof device, "/dev/i2c-%.*s", (int)digits, bus);
    if (strcmp(path, device) != 0)
        return false;
    *to = (struct sockaddr_un){ .sun_family = AF_UNIX };
    (void)snprintf(to->sun_path, sizeof to->sun_path, "%s", &colon[1]);
    return true;
}

/* Put a new descriptor into the table. False: no room. */
static bool
remember(int fd, uint8_t address)
{
    struct stat st;
    size_t i;
    bool room;

    if (fstat(fd, &st) != 0)
        return false;
    (void)pthread_mutex_lock(&lock);
    for (i = 0; i < table_used && table[i].fd >= 0 && table[i].fd != fd; i++)
        continue;
    room = i < OPEN_MAX_HERE;
    if (room) {
        table[i] = (struct open_bus){ fd, st.st_dev, st.st_ino, address };
        table_used = i == table_used ? i + 1 : table_used;
    }
    (void)pthread_mutex_unlock(&lock);
    return room;
}

/* Is `fd` a bus of ours? Keeps errno. `set` >= 0 sets its slave address, `forget` ends the entry.
 */
static bool
lookup(int fd, int set, bool forget, uint8_t *address)
{
    int cause = errno;
    struct stat st;
    bool found = false;

    if (fd < 0 || table_used == 0) /* nearly every call of a foreign program ends here */
        return false;
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < table_used && !found; i++) {
        if (table[i].fd != fd)
            continue;
        found = fstat(fd, &st) == 0 && st.st_dev == table[i].dev && st.st_ino == table[i].ino;
        if (found && set >= 0)
            table[i].address = (uint8_t)set;
        *address = table[i].address;
        if (!found || forget)
            table[i].fd = -1;
    }
    (void)pthread_mutex_unlock(&lock);
    errno = cause;
    return found;
}

static int
connect_bus(const struct sockaddr_un *to, int flags)
{
    struct timeval limit = { .tv_sec = ANSWER_TIMEOUT_S };
    int type = SOCK_SEQPACKET | ((flags & O_CLOEXEC) != 0 ? SOCK_CLOEXEC : 0);
    int fd = socket(AF_UNIX, type, 0);
    int cause;

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0) {
        if (remember(fd, 0))
            return fd;
        errno = EMFILE;
    }
    cause = errno;
    fprintf(stderr, "a71ch-i2c-shim: no bus at %s: %s; is a71chd --listen i2c-unix:%s running?\n",
        to->sun_path, strerror(cause), to->sun_path);
    (void)next()->close(fd);
    errno = cause;
    return -1;
}

static int
errno_of(uint8_t result)
{
    switch (result) {
    case I2CBUS_DONE:
        return 0;
    case I2CBUS_NO_SLAVE:
        return ENXIO;
    case I2CBUS_REFUSED:
        return EREMOTEIO;
    case I2CBUS_BAD_LENGTH:
        return EPROTO;
    default: /* the other side's byte, not our enum */
        return EIO;
    }
}

/*
 * One transaction. The answer's reads are left in `reads`, over `packet`. False: errno says why.
 * The lock keeps a thread's answer from another thread that uses the same descriptor.
 */
static bool
transact(int fd, const struct wr *request, uint8_t packet[I2CBUS_PACKET_MAX], struct rd *reads)
{
    ssize_t n;
    uint8_t result;

    if (request->failed) {
        errno = EINVAL;
        return false;
    }
    (void)pthread_mutex_lock(&lock);
    n = send(fd, packet, wr_len(request), MSG_NOSIGNAL);
    if (n >= 0) {
        do
            n = recv(fd, packet, I2CBUS_PACKET_MAX, 0);
        while (n < 0 && errno == EINTR);
        if (n < 0) /* a late answer would be taken for the next one */
            (void)shutdown(fd, SHUT_RDWR);
    }
    (void)pthread_mutex_unlock(&lock);
    if (n < 2) { /* the daemon is gone, or stuck: what a bus that hangs gives */
        errno = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? ETIMEDOUT : EIO;
        return false;
    }
    *reads = rd_of(span_of(packet, (size_t)n));
    result = rd_u8(reads);
    (void)rd_u8(reads);
    if (result != I2CBUS_DONE)
        errno = errno_of(result);
    return result == I2CBUS_DONE;
}

static void
add_message(struct wr *w, struct i2cbus_message m)
{
    if (i2cbus_message_build(w, &m) != BM_OK)
        w->failed = true;
}

/* The bytes of the next read. */
static struct span
next_read(struct rd *reads)
{
    return rd_span(reads, rd_u16(reads));
}

/* As the kernel: the length comes from the chip, buf[0] says how many bytes are beside them. */
static bool
block_read_ok(const struct i2c_msg *m)
{
    return m->len > 0 && m->buf[0] == 1 && m->len >= 1 + I2CBUS_BLOCK_MAX;
}

static bool
add_rdwr(struct wr *w, const struct i2c_msg *m)
{
    struct i2cbus_message to = { .address = (uint8_t)m->addr };

    if (m->addr > ADDRESS_MAX || (m->flags & ~(I2C_M_RD | I2C_M_RECV_LEN)) != 0 ||
        m->len > TRANSFER_MAX || (m->buf == NULL && m->len > 0))
        return false;
    if (m->flags == 0)
        to.data = span_of(m->buf, m->len);
    else if (m->flags == I2C_M_RD)
        to = (struct i2cbus_message){ to.address, I2CBUS_READ, m->len, { 0 } };
    else if ((m->flags & I2C_M_RD) != 0 && block_read_ok(m))
        to.flags = I2CBUS_READ_BLOCK;
    else
        return false;
    add_message(w, to);
    return true;
}

static int
do_rdwr(int fd, const struct i2c_rdwr_ioctl_data *all)
{
    uint8_t packet[I2CBUS_PACKET_MAX];
    struct wr w = wr_of(packet, sizeof packet);
    struct rd reads;

    if (all == NULL || all->msgs == NULL || all->nmsgs == 0 || all->nmsgs > I2CBUS_MESSAGES_MAX) {
        errno = EINVAL;
        return -1;
    }
    for (uint32_t i = 0; i < all->nmsgs; i++) {
        if (!add_rdwr(&w, &all->msgs[i])) {
            errno = EINVAL;
            return -1;
        }
    }
    if (!transact(fd, &w, packet, &reads))
        return -1;
    for (uint32_t i = 0; i < all->nmsgs; i++) {
        struct i2c_msg *m = &all->msgs[i];
        struct span got;

        if ((m->flags & I2C_M_RD) == 0)
            continue;
        got = next_read(&reads);
        if (reads.failed || got.len > m->len) {
            errno = EIO;
            return -1;
        }
        memcpy(m->buf, got.ptr, got.len);
    }
    return (int)all->nmsgs;
}

/* Quick, byte and block read: what is in `functions`. */
static int
do_smbus(int fd, uint8_t address, const struct i2c_smbus_ioctl_data *s)
{
    uint8_t packet[I2CBUS_PACKET_MAX];
    struct wr w = wr_of(packet, sizeof packet);
    struct rd reads;
    struct span got = { 0 };
    bool in = s != NULL && s->read_write == I2C_SMBUS_READ;

    if (s == NULL || (s->size != I2C_SMBUS_QUICK && in && s->data == NULL)) {
        errno = EINVAL;
        return -1;
    }
    if (s->size == I2C_SMBUS_QUICK || (s->size == I2C_SMBUS_BYTE && in))
        add_message(&w, (struct i2cbus_message){ address, in ? I2CBUS_READ : I2CBUS_WRITE,
                            s->size == I2C_SMBUS_BYTE, { 0 } });
    else if (s->size == I2C_SMBUS_BYTE || (s->size == I2C_SMBUS_BLOCK_DATA && in))
        add_message(
            &w, (struct i2cbus_message){ address, I2CBUS_WRITE, 0, span_of(&s->command, 1) });
    else {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (s->size == I2C_SMBUS_BLOCK_DATA)
        add_message(&w, (struct i2cbus_message){ address, I2CBUS_READ_BLOCK, 0, { 0 } });
    if (!transact(fd, &w, packet, &reads))
        return -1;
    if (!in || s->size == I2C_SMBUS_QUICK)
        return 0;
    got = next_read(&reads);
    if (reads.failed || got.len == 0 || got.len > sizeof s->data->block) {
        errno = EIO;
        return -1;
    }
    memcpy(s->data->block, got.ptr, got.len); /* a byte is the first of the block */
    return 0;
}

static int
set_address(int fd, unsigned long address)
{
    uint8_t ignored;

    if (address > ADDRESS_MAX) {
        errno = EINVAL;
        return -1;
    }
    (void)lookup(fd, (int)address, false, &ignored);
    return 0;
}

static int
bus_ioctl(int fd, uint8_t address, unsigned long request, void *arg)
{
    switch (request) {
    case I2C_SLAVE:
    case I2C_SLAVE_FORCE:
        return set_address(fd, (unsigned long)(uintptr_t)arg);
    case I2C_FUNCS:
        memcpy(arg, &functions, sizeof functions);
        return 0;
    case I2C_RDWR:
        return do_rdwr(fd, arg);
    case I2C_SMBUS:
        return do_smbus(fd, address, arg);
    case I2C_PEC: /* `functions` has no PEC: only "off" is true */
    case I2C_TENBIT:
        errno = EINVAL;
        return arg == NULL ? 0 : -1;
    case I2C_RETRIES:
    case I2C_TIMEOUT:
        return 0; /* nothing on this bus is lost on the way */
    default:
        errno = ENOTTY;
        return -1;
    }
}

/* The mode is there only when a file may be made. */
static mode_t
mode_of(int flags, va_list ap)
{
    bool makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;

    return makes ? va_arg(ap, mode_t) : 0;
}

static int
open_any(int dir, const char *path, int flags, mode_t mode)
{
    struct sockaddr_un to;

    if (is_bus(path, &to))
        return connect_bus(&to, flags);
    if (dir == AT_FDCWD)
        return next()->open(path, flags, mode);
    return next()->openat(dir, path, flags, mode);
}

EXPORT int open(const char *path, int flags, ...);
EXPORT int open64(const char *path, int flags, ...);
EXPORT int openat(int dir, const char *path, int flags, ...);
EXPORT int openat64(int dir, const char *path, int flags, ...);
/* what _FORTIFY_SOURCE makes of the above */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags);
EXPORT int __openat_2(int dir, const char *path, int flags);
EXPORT int __openat64_2(int dir, const char *path, int flags);
EXPORT ssize_t __read_chk(int fd, void *to, size_t len, size_t room);
EXPORT int ioctl(int fd, unsigned long request, ...);
EXPORT ssize_t read(int fd, void *to, size_t len);
EXPORT ssize_t write(int fd, const void *from, size_t len);
EXPORT int close(int fd);
EXPORT int dup(int fd);

EXPORT int
open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = mode_of(flags, ap);
    va_end(ap);
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int
open64(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = mode_of(flags, ap);
    va_end(ap);
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int
openat(int dir, const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = mode_of(flags, ap);
    va_end(ap);
    return open_any(dir, path, flags, mode);
}

EXPORT int
openat64(int dir, const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = mode_of(flags, ap);
    va_end(ap);
    return open_any(dir, path, flags, mode);
}

EXPORT int
__open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

EXPORT int
__open64_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

EXPORT int
__openat_2(int dir, const char *path, int flags)
{
    return open_any(dir, path, flags, 0);
}

EXPORT int
__openat64_2(int dir, const char *path, int flags)
{
    return open_any(dir, path, flags, 0);
}

EXPORT int
ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    void *arg;
    uint8_t address;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (lookup(fd, -1, false, &address))
        return bus_ioctl(fd, address, request, arg);
    return next()->ioctl(fd, request, arg);
}

EXPORT ssize_t
read(int fd, void *to, size_t len)
{
    uint8_t packet[I2CBUS_PACKET_MAX];
    struct wr w = wr_of(packet, sizeof packet);
    struct rd reads;
    struct span got;
    uint8_t address;

    if (!lookup(fd, -1, false, &address))
        return next()->read(fd, to, len);
    if (len > TRANSFER_MAX)
        len = TRANSFER_MAX;
    add_message(&w, (struct i2cbus_message){ address, I2CBUS_READ, (uint16_t)len, { 0 } });
    if (!transact(fd, &w, packet, &reads))
        return -1;
    got = next_read(&reads);
    if (reads.failed || got.len > len) {
        errno = EIO;
        return -1;
    }
    memcpy(to, got.ptr, got.len);
    return (ssize_t)got.len;
}

EXPORT ssize_t
__read_chk(int fd, void *to, size_t len, size_t room)
{
    if (len > room) /* what the program was built to be stopped for */
        abort();
    return read(fd, to, len);
}

EXPORT ssize_t
write(int fd, const void *from, size_t len)
{
    uint8_t packet[I2CBUS_PACKET_MAX];
    struct wr w = wr_of(packet, sizeof packet);
    struct rd reads;
    uint8_t address;

    if (!lookup(fd, -1, false, &address))
        return next()->write(fd, from, len);
    if (len > TRANSFER_MAX)
        len = TRANSFER_MAX;
    add_message(&w, (struct i2cbus_message){ address, I2CBUS_WRITE, 0, span_of(from, len) });
    return transact(fd, &w, packet, &reads) ? (ssize_t)len : -1;
}

EXPORT int
close(int fd)
{
    uint8_t ignored;

    (void)lookup(fd, -1, true, &ignored);
    return next()->close(fd);
}

EXPORT int
dup(int fd)
{
    uint8_t address = 0;
    bool ours = lookup(fd, -1, false, &address);
    int copy = next()->dup(fd);

    if (ours && copy >= 0 && !remember(copy, address)) {
        (void)next()->close(copy);
        errno = EMFILE;
        return -1;
    }
    return copy;
}
