/* SPDX-License-Identifier: Apache-2.0 */
/* See i2c.h. SPEC a71ch 5.6 to 5.8. */
#include "host/i2c.h"

#include "base/clock.h"
#include "wire/sci2c.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Waits of the vendor's host, SPEC 5.6, 5.7. */
enum {
    WAKE_UP_US = 200, /* the protocol wants 180 or more */
    COMMAND_US = 200,
    READ_US = 1000, /* before and after every read */
    POLL_US = 2000,
    RESET_US = 10000,
    CONNECT_POLL_US = 100000,
    SILENT_MS = 600, /* without a "busy" */
    RESET_TRIES = 3,
    BLOCK_LEN = 256, /* what the kernel wants room for */
    BLOCK_MAX = 32,  /* what it reads at most */
    SIZE_CODE = 0,   /* frames that fit BLOCK_MAX */
};

struct frame {
    uint8_t bytes[BLOCK_LEN];
    uint8_t pcb;
    struct span data;
};

static void
pause_us(long us)
{
    struct timespec t = { .tv_nsec = us * 1000 };

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        continue;
}

/* Write `pcb`, repeated start, read a frame whose length the chip says. BM_ERR_IO: errno says. */
static enum bm_err
request(struct link *l, uint8_t pcb, struct frame *f)
{
    struct i2c_msg m[2] = {
        { .addr = (uint16_t)l->i2c, .len = 1, .buf = &pcb },
        { .addr = (uint16_t)l->i2c,
            .flags = I2C_M_RD | I2C_M_RECV_LEN,
            .len = BLOCK_LEN,
            .buf = f->bytes },
    };
    struct i2c_rdwr_ioctl_data all = { m, 2 };
    struct rd r;
    int rc;

    f->bytes[0] = 1; /* one byte beside those that the length counts: itself */
    pause_us(READ_US);
    rc = ioctl(l->fd, I2C_RDWR, &all);
    if (rc != 2) {
        errno = rc < 0 ? errno : EIO;
        return BM_ERR_IO;
    }
    pause_us(READ_US);
    r = rd_of(span_of(f->bytes, BLOCK_MAX + 1));
    return sci2c_reply_parse(&r, &f->pcb, &f->data) == BM_OK ? BM_OK : BM_ERR_PROTO;
}

/*
 * Was the address, or a byte, not acknowledged? A chip that sleeps or is busy may do that (SPEC 5.1)
 * and has then taken nothing, so the same transfer may be tried again.
 */
static bool
not_acknowledged(int cause)
{
    return cause == ENXIO || cause == EREMOTEIO;
}

static enum bm_err
io_failed(struct link *l, const char *what, struct bm_msg *msg)
{
    int cause = errno;

    link_close(l);
    l->sys_errno = cause;
    if (not_acknowledged(cause))
        return bm_fail(msg, BM_ERR_IO,
            "nobody answers at address 0x%02x of %s (%s: %s); check wiring and power, and look "
            "with i2cdetect",
            l->i2c, l->name, what, strerror(cause));
    if (cause == ETIMEDOUT || cause == EBUSY)
        return bm_fail(msg, BM_ERR_IO,
            "the bus of %s is stuck (%s: %s): a line is held low; switch the chip off and on, and "
            "try a lower clock",
            l->name, what, strerror(cause));
    if (cause == EAGAIN)
        return bm_fail(msg, BM_ERR_IO,
            "another master took the bus of %s (%s: %s); let one of them have it, and connect again",
            l->name, what, strerror(cause));
    if (cause == EPROTO)
        return bm_fail(msg, BM_ERR_IO,
            "%s sent a frame with no length from 1 to %d (%s: %s); is the chip's power good? "
            "Connect again",
            l->name, BLOCK_MAX, what, strerror(cause));
    return bm_fail(msg, BM_ERR_IO, "the I2C transfer with %s failed (%s: %s); connect again",
        l->name, what, strerror(cause));
}

static enum bm_err
proto_failed(struct link *l, const char *what, uint8_t pcb, struct bm_msg *msg)
{
    link_close(l);
    return bm_fail(msg, BM_ERR_PROTO,
        "the chip at %s answered %s with control byte %02X, which SCI2C does not have there; is "
        "another program using the chip? Connect again",
        l->name, what, pcb);
}

static enum bm_err
time_failed(struct link *l, const char *what, unsigned ms, struct bm_msg *msg)
{
    link_close(l);
    return bm_fail(msg, BM_ERR_TIMEOUT,
        "the chip at %s %s within %u ms; the connection is closed, open it again", l->name, what,
        ms);
}

/* What could not be done to the device, and the cure. */
static enum bm_err
device_failed(
    struct link *l, const char *what, const char *cure, enum bm_err err, struct bm_msg *msg)
{
    int cause = errno;

    link_close(l);
    l->sys_errno = cause;
    return bm_fail(msg, err, "%s: %s: %s; %s", l->name, what, strerror(cause), cure);
}

static enum bm_err
set_up(struct link *l, struct bm_msg *msg)
{
    unsigned long functions = 0;

    if (flock(l->fd, LOCK_EX | LOCK_NB) != 0)
        return device_failed(l, "the bus is in use",
            "another program of this library has it; wait for its end", BM_ERR_CONFLICT, msg);
    if (ioctl(l->fd, I2C_FUNCS, &functions) != 0)
        return device_failed(l, "ioctl I2C_FUNCS", "is it an i2c-dev device?", BM_ERR_IO, msg);
    if ((functions & I2C_FUNC_I2C) == 0 || (functions & I2C_FUNC_SMBUS_READ_BLOCK_DATA) == 0) {
        errno = EOPNOTSUPP;
        return device_failed(l, "the adapter lacks plain I2C or SMBus block read",
            "use another bus, such as one of i2c-gpio", BM_ERR_IO, msg);
    }
    if (ioctl(l->fd, I2C_SLAVE, (unsigned long)l->i2c) != 0)
        return device_failed(l, "ioctl I2C_SLAVE",
            "a kernel driver may hold that address; unbind it", BM_ERR_IO, msg);
    if (ioctl(l->fd, I2C_PEC, 0UL) != 0)
        return device_failed(
            l, "ioctl I2C_PEC", "the adapter cannot work without PEC", BM_ERR_IO, msg);
    return BM_OK;
}

/*
 * SPEC 5.6 step 1. An exception is cured by a soft reset, which the 2022 host does, too; so is, in
 * the end, a chip that has not become ready for half of the time: what it was doing was somebody's
 * who has left, and the connection begins with a soft reset anyway: but not when it is resumed.
 */
static enum bm_err
wait_connect(struct link *l, unsigned timeout_ms, bool resume, struct bm_msg *msg)
{
    int64_t deadline = clock_mono_ms() + timeout_ms;
    int64_t patience = deadline - timeout_ms / 2;

    for (;;) {
        struct frame f;
        enum bm_err err = request(l, SCI2C_PCB_STATUS, &f);

        if (err == BM_OK && f.pcb == sci2c_status_byte(SCI2C_READY))
            return BM_OK;
        if (clock_mono_ms() >= deadline) {
            if (err == BM_ERR_IO)
                return io_failed(l, "ioctl I2C_RDWR", msg);
            return time_failed(l, "did not become ready", timeout_ms, msg);
        }
        if (!resume &&
            ((err == BM_OK && sci2c_is_exception(f.pcb)) || clock_mono_ms() >= patience))
            (void)request(l, SCI2C_PCB_SOFT_RESET, &f); /* the next status tells */
        pause_us(CONNECT_POLL_US);
    }
}

enum bm_err
i2c_open(struct link *l, const struct address *address, unsigned timeout_ms, bool resume,
    struct bm_msg *msg)
{
    enum bm_err err;

    l->i2c = address->i2c;
    l->fd = open(address->path, O_RDWR | O_CLOEXEC);
    if (l->fd < 0) {
        const char *cure = errno == EACCES || errno == EPERM
                               ? "run as a user of the group i2c"
                               : "load the module i2c-dev and look with i2cdetect -l";

        return device_failed(l, "cannot open the bus", cure, BM_ERR_IO, msg);
    }
    err = set_up(l, msg);
    return err == BM_OK ? wait_connect(l, timeout_ms, resume, msg) : err;
}

static enum bm_err
soft_reset(struct link *l, struct bm_msg *msg)
{
    struct frame f = { .pcb = 0 };
    enum bm_err err = BM_ERR_IO;

    for (int i = 0; i < RESET_TRIES; i++) {
        err = request(l, SCI2C_PCB_SOFT_RESET, &f);
        pause_us(RESET_US);
        if (err == BM_OK && f.data.len == 0 && !sci2c_is_exception(f.pcb)) {
            l->sequence = 0;
            return BM_OK;
        }
    }
    return err == BM_ERR_IO ? io_failed(l, "ioctl I2C_RDWR", msg)
                            : proto_failed(l, "a soft reset", f.pcb, msg);
}

/* SPEC 5.6 steps 2 to 4 */
static enum bm_err
connect_chip(struct link *l, struct wr *atr, struct bm_msg *msg)
{
    struct frame f = { .pcb = 0 };
    enum bm_err err = soft_reset(l, msg);

    if (err != BM_OK)
        return err;
    for (int i = 0; i < RESET_TRIES && (i == 0 || err == BM_ERR_IO); i++)
        err = request(l, SCI2C_PCB_ATR, &f);
    if (err == BM_ERR_IO)
        return io_failed(l, "ioctl I2C_RDWR", msg);
    if (err != BM_OK || f.data.len == 0)
        return proto_failed(l, "the request for its ATR", f.pcb, msg);
    wr_span(atr, f.data);
    for (int i = 0; i < RESET_TRIES; i++) {
        err = request(l, sci2c_pcb_parameters(SIZE_CODE), &f);
        if (err == BM_OK && f.data.len == 0 && sci2c_parameters_accepted(SIZE_CODE, f.pcb))
            return BM_OK;
    }
    return err == BM_ERR_IO ? io_failed(l, "ioctl I2C_RDWR", msg)
                            : proto_failed(l, "the parameter exchange", f.pcb, msg);
}

/* Poll until ready; a silent chip has 600 ms, a busy one until the deadline. */
static enum bm_err
wait_ready(struct link *l, int64_t deadline, unsigned timeout_ms, struct bm_msg *msg)
{
    int64_t silent = clock_mono_ms() + SILENT_MS;

    pause_us(COMMAND_US);
    for (;;) {
        struct frame f;
        enum bm_err err = request(l, SCI2C_PCB_STATUS, &f);
        int64_t now = clock_mono_ms();

        if (err == BM_OK && f.pcb == sci2c_status_byte(SCI2C_READY))
            return BM_OK;
        if (err == BM_OK && f.pcb == sci2c_status_byte(SCI2C_BUSY))
            silent = now + SILENT_MS;
        else if (err != BM_ERR_IO)
            return proto_failed(l, "a status request", f.pcb, msg);
        else if (now >= silent)
            return io_failed(l, "ioctl I2C_RDWR", msg);
        if (now >= deadline)
            return time_failed(l, "was busy and gave no answer", timeout_ms, msg);
        pause_us(POLL_US);
    }
}

/* One frame to the chip, which may be asleep for a while. BM_ERR_IO: errno says. */
static enum bm_err
write_frame(struct link *l, struct span frame)
{
    int64_t silent = clock_mono_ms() + SILENT_MS;

    for (;;) {
        ssize_t n = write(l->fd, frame.ptr, frame.len);

        if (n == (ssize_t)frame.len)
            return BM_OK;
        if (n >= 0)
            errno = EIO;
        if (n >= 0 || !not_acknowledged(errno) || clock_mono_ms() >= silent)
            return BM_ERR_IO;
        pause_us(POLL_US);
    }
}

/* SPEC 5.7 steps 1 to 3 */
static enum bm_err
send_command(
    struct link *l, struct span command, int64_t deadline, unsigned timeout_ms, struct bm_msg *msg)
{
    static const uint8_t wake_up = SCI2C_PCB_WAKE_UP;
    uint8_t bytes[SCI2C_WRITE_MAX];
    struct rd left = rd_of(command);
    enum bm_err err = BM_OK;

    if (write(l->fd, &wake_up, 1) != 1)
        errno = 0; /* not being acknowledged is normal, SPEC 5.3 */
    pause_us(WAKE_UP_US);
    while (err == BM_OK && rd_left(&left) > 0) {
        struct wr w = wr_of(bytes, sizeof bytes);
        size_t len = rd_left(&left) < SCI2C_SEND_MAX ? rd_left(&left) : SCI2C_SEND_MAX;
        struct span piece = rd_span(&left, len);

        (void)sci2c_send_build(&w, sci2c_pcb_send(rd_left(&left) > 0, l->sequence), piece);
        l->sequence = (uint8_t)((l->sequence + 1) % SCI2C_SEQUENCES);
        if (write_frame(l, span_of(bytes, wr_len(&w))) != BM_OK)
            err = io_failed(l, "write", msg);
        else
            err = wait_ready(l, deadline, timeout_ms, msg);
    }
    bm_wipe(bytes, sizeof bytes); /* may have held a private key */
    return err;
}

/*
 * One frame of the answer; a chip that is not ready for it (not acknowledged, or busy) is asked
 * again. BM_ERR_IO: errno says. BM_ERR_TIMEOUT, BM_ERR_PROTO.
 */
static enum bm_err
read_frame(struct link *l, uint8_t pcb, int64_t deadline, struct frame *f)
{
    int64_t silent = clock_mono_ms() + SILENT_MS;

    for (;;) {
        enum bm_err err = request(l, pcb, f);
        int64_t now = clock_mono_ms();
        bool busy = err == BM_OK && f->pcb == sci2c_status_byte(SCI2C_BUSY);

        if (now >= deadline)
            return BM_ERR_TIMEOUT;
        if (!busy && (err != BM_ERR_IO || !not_acknowledged(errno) || now >= silent))
            return err;
        pause_us(POLL_US);
    }
}

/* Step 4: frames until one without More. */
static enum bm_err
receive_answer(
    struct link *l, struct wr *out, int64_t deadline, unsigned timeout_ms, struct bm_msg *msg)
{
    uint8_t pcb = SCI2C_PCB_RECEIVE_FIRST;
    struct frame f = { .pcb = 0x80 };
    enum bm_err err = BM_OK;

    while (err == BM_OK && (f.pcb & 0x80) != 0) {
        err = read_frame(l, pcb, deadline, &f);
        if (err == BM_ERR_TIMEOUT)
            err = time_failed(l, "was still sending its answer", timeout_ms, msg);
        else if (err == BM_ERR_IO)
            err = io_failed(l, "ioctl I2C_RDWR", msg);
        else if (err != BM_OK || (f.pcb & 0x7f) != SCI2C_PCB_RECEIVE || f.data.len == 0)
            err = proto_failed(l, "a request for its answer", f.pcb, msg);
        else
            wr_span(out, f.data);
        if (err == BM_OK && out->failed)
            err = proto_failed(l, "with more than an APDU", f.pcb, msg);
        pcb = SCI2C_PCB_RECEIVE;
    }
    bm_wipe(&f, sizeof f);
    return err;
}

enum bm_err
i2c_exchange(struct link *l, const struct jrcp_msg *req, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg)
{
    struct wr out = wr_of(room, JRCP_MESSAGE_MAX);
    int64_t deadline = clock_mono_ms() + timeout_ms;
    enum bm_err err;

    l->sys_errno = 0;
    if (l->fd < 0)
        return bm_fail(msg, BM_ERR_CLOSED,
            "the connection to %s was lost in an earlier call; close this handle and open it again",
            l->name);
    if (req->mty == JRCP_WAIT_FOR_CARD) {
        err = connect_chip(l, &out, msg);
    } else {
        err = send_command(l, req->payload, deadline, timeout_ms, msg);
        if (err == BM_OK)
            err = receive_answer(l, &out, deadline, timeout_ms, msg);
    }
    *answer = (struct jrcp_msg){ .mty = req->mty, .payload = span_of(room, wr_len(&out)) };
    return err;
}
