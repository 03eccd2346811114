/* SPDX-License-Identifier: Apache-2.0 */
/* See i2c.h. SPEC a71ch 5. */
#include "a71chd/i2c.h"

#include "base/log.h"
#include "bus/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENT_ID = 0 }; /* in the log; clients of the other sockets count from 1 */

struct master {
    struct i2c *bus;
    int fd; /* -1: free place */
    struct loop_watch *watch;
};

struct i2c {
    struct loop *loop;
    struct backend_session *session;
    struct slave slave;
    struct loop_timer *run; /* the pending command's */
    bool resetting;         /* the answer that comes is a reset's */
    int fd;
    struct loop_watch *watch;
    struct master masters[I2C_MASTERS_MAX];
    size_t master_count;
    uint8_t in[I2CBUS_PACKET_MAX];
    uint8_t out[I2CBUS_PACKET_MAX];
};

static void follow_up(struct i2c *bus);

static void
master_drop(struct master *m)
{
    struct i2c *bus = m->bus;

    loop_remove(bus->loop, m->watch);
    (void)close(m->fd);
    m->fd = -1;
    m->watch = NULL;
    if (bus->master_count-- == I2C_MASTERS_MAX)
        loop_modify(bus->loop, bus->watch, EPOLLIN);
}

/* The chip has answered a command, or a reset, which the slave has answered already. */
static void
on_answer(void *arg, const struct backend_answer *answer)
{
    struct i2c *bus = arg;

    if (answer->err == BM_OK && !bus->resetting) {
        slave_answer(&bus->slave, answer->bytes);
    } else if (answer->err != BM_OK) {
        log_warn("no answer on the I2C bus: %s", answer->cause);
        slave_raise(&bus->slave, SCI2C_OTHER);
    }
    bus->resetting = false;
    follow_up(bus);
}

static void
on_run(void *arg)
{
    struct i2c *bus = arg;
    struct span command = slave_pending(&bus->slave);

    bus->run = NULL;
    if (command.len > 0 && !backend_waiting(bus->session)) /* else a soft reset came first */
        backend_apdu(bus->session, command);
}

/* What a transaction, or the end of a command, may have left to do. */
static void
follow_up(struct i2c *bus)
{
    if (slave_take_reset(&bus->slave)) {
        log_debug("soft reset on the I2C bus");
        bus->resetting = true;
        backend_reset(bus->session);
        return; /* on_answer comes back here */
    }
    if (slave_pending(&bus->slave).len == 0 || bus->run != NULL || backend_waiting(bus->session))
        return;
    bus->run = loop_after(bus->loop, 0, on_run, bus);
    if (bus->run == NULL) {
        log_error("out of memory: a command on the I2C bus is lost");
        slave_raise(&bus->slave, SCI2C_OTHER);
    }
}

static void
on_master(void *arg, uint32_t events)
{
    struct master *m = arg;
    struct i2c *bus = m->bus;
    ssize_t n = recv(m->fd, bus->in, sizeof bus->in, MSG_DONTWAIT | MSG_TRUNC);
    size_t len;

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* an empty packet looks the same, and is no transaction */
        master_drop(m);
        return;
    }
    if ((size_t)n > sizeof bus->in)
        n = 0; /* cut off: malformed, as bus_transact will say */
    len = bus_transact(&bus->slave, span_of(bus->in, (size_t)n), bus->out);
    if (send(m->fd, bus->out, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len) {
        log_warn("an I2C master does not take its answer; closing it");
        master_drop(m);
    }
    bm_wipe(bus->in, (size_t)n); /* keys may have passed */
    bm_wipe(bus->out, len);
    follow_up(bus);
}

static struct master *
free_place(struct i2c *bus)
{
    for (size_t i = 0; i < I2C_MASTERS_MAX; i++) {
        if (bus->masters[i].fd < 0)
            return &bus->masters[i];
    }
    return NULL;
}

static void
on_listener(void *arg, uint32_t events)
{
    struct i2c *bus = arg;
    struct master *m = free_place(bus);
    int fd;

    (void)events;
    if (m == NULL)
        return;
    fd = accept4(bus->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            log_error("cannot accept an I2C master: %s", strerror(errno));
        return;
    }
    m->watch = loop_add(bus->loop, fd, EPOLLIN, on_master, m);
    if (m->watch == NULL) {
        log_error("cannot take an I2C master: out of memory");
        (void)close(fd);
        return;
    }
    m->fd = fd;
    if (++bus->master_count == I2C_MASTERS_MAX) {
        log_warn("%d I2C masters, more have to wait", I2C_MASTERS_MAX);
        loop_modify(bus->loop, bus->watch, 0);
    }
}

enum bm_err
i2c_new(struct loop *loop, struct backend *chip, int fd, struct i2c **out)
{
    struct i2c *bus = calloc(1, sizeof *bus);
    enum bm_err err = bus != NULL
                          ? backend_session_open(chip, CLIENT_ID, on_answer, bus, &bus->session)
                          : BM_ERR_MEM;

    *out = NULL;
    if (err == BM_OK) {
        bus->loop = loop;
        bus->fd = fd;
        for (size_t i = 0; i < I2C_MASTERS_MAX; i++)
            bus->masters[i] = (struct master){ .bus = bus, .fd = -1 };
        err = slave_init(&bus->slave, backend_atr(chip));
    }
    if (err == BM_OK && (bus->watch = loop_add(loop, fd, EPOLLIN, on_listener, bus)) == NULL)
        err = BM_ERR_MEM;
    if (err != BM_OK) {
        if (bus != NULL)
            backend_session_close(bus->session);
        free(bus);
        return err;
    }
    *out = bus;
    return BM_OK;
}

void
i2c_free(struct i2c *bus)
{
    if (bus == NULL)
        return;
    for (size_t i = 0; i < I2C_MASTERS_MAX; i++) {
        if (bus->masters[i].fd >= 0)
            master_drop(&bus->masters[i]);
    }
    loop_cancel(bus->loop, bus->run);
    loop_remove(bus->loop, bus->watch);
    backend_session_close(bus->session);
    bm_wipe(bus, sizeof *bus);
    free(bus);
}
