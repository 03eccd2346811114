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
    struct backend *chip;
    uint8_t ins;              /* of the last command, for the rules of faults */
    struct master *talking;   /* whose transaction takes its time, or NULL */
    struct loop_timer *clock; /* ... until then */
    size_t out_len;
    bool resetting; /* the answer that comes is a reset's */
    int fd;
    struct loop_watch *watch;
    struct master masters[I2C_MASTERS_MAX];
    size_t master_count;
    uint8_t in[I2CBUS_PACKET_MAX];
    uint8_t out[I2CBUS_PACKET_MAX];
};

static void follow_up(struct i2c *bus);
static void watch_masters(struct i2c *bus, uint32_t events);

static void
master_drop(struct master *m)
{
    struct i2c *bus = m->bus;

    loop_remove(bus->loop, m->watch);
    (void)close(m->fd);
    m->fd = -1;
    m->watch = NULL;
    if (m == bus->talking) {
        loop_cancel(bus->loop, bus->clock);
        bus->clock = NULL;
        bus->talking = NULL;
        watch_masters(bus, EPOLLIN);
    }
    if (bus->master_count-- == I2C_MASTERS_MAX)
        loop_modify(bus->loop, bus->watch, EPOLLIN);
}

static enum bm_err
power_up(struct i2c *bus)
{
    const struct sim_options *o = backend_sim_options(bus->chip);
    struct quirks q = o != NULL ? o->quirks : quirks_default();
    const struct slave_choices choices = { .wakes = q.value[QUIRK_I2C_WAKE_UP] != 0,
        .data_counts = q.value[QUIRK_I2C_FRAME_DATA] != 0,
        .parameters = (uint8_t)q.value[QUIRK_I2C_PARAMETERS],
        .reset_reply = (uint8_t)q.value[QUIRK_I2C_RESET_REPLY] };

    return slave_init(&bus->slave, backend_atr(bus->chip), &choices);
}

/* As after power-on, nobody having asked for it. */
static void
restart(struct i2c *bus)
{
    (void)power_up(bus); /* the ATR fitted before */
    bus->resetting = true;
    backend_reset(bus->session);
}

/* The chip has answered a command, or a reset, which the slave has answered already. */
static void
on_answer(void *arg, const struct backend_answer *answer)
{
    struct i2c *bus = arg;

    if (answer->err == BM_OK && !bus->resetting) {
        slave_answer(&bus->slave, answer->bytes);
    } else if (answer->err == BM_ERR_IO && !bus->resetting) {
        log_debug("the chip on the I2C bus begins anew: %s", answer->cause);
        restart(bus);
        return; /* it comes back here */
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

/* ---- what a profile and the rules of faults make of a transaction ---- */

static void
watch_masters(struct i2c *bus, uint32_t events)
{
    for (size_t i = 0; i < I2C_MASTERS_MAX; i++) {
        if (bus->masters[i].fd >= 0)
            loop_modify(bus->loop, bus->masters[i].watch, events);
    }
}

/* The transaction is over: its master gets what came of it. */
static void
end_transaction(struct i2c *bus)
{
    struct master *m = bus->talking;

    bus->talking = NULL;
    if (send(m->fd, bus->out, bus->out_len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)bus->out_len) {
        log_warn("an I2C master does not take its answer; closing it");
        master_drop(m);
    }
    bm_wipe(bus->out, bus->out_len);
}

static void
on_clock(void *arg)
{
    struct i2c *bus = arg;

    bus->clock = NULL;
    end_transaction(bus);
    watch_masters(bus, EPOLLIN);
}

/* A bus has one conversation at a time: while it takes its time the other masters wait. */
static void
pass_time(struct i2c *bus, size_t bytes)
{
    const struct sim_options *o = backend_sim_options(bus->chip);
    uint64_t us = o != NULL ? profile_bus(&o->profile, bytes) : 0;
    uint64_t ms = us != 0 ? backend_sim_spend(bus->chip, us) : 0;

    if (ms > 0)
        bus->clock = loop_after(bus->loop, (int64_t)ms, on_clock, bus);
    if (bus->clock != NULL)
        watch_masters(bus, 0);
    else
        end_transaction(bus);
}

/* The instruction of a command that begins in this transaction. */
static void
note_instruction(struct i2c *bus, struct span request)
{
    enum { PCB = 0, INS = 3 }; /* after it LEN and CLA */
    struct rd r = rd_of(request);
    struct i2cbus_message m;

    if (i2cbus_message_parse(&r, &m) == BM_OK && m.flags == I2CBUS_WRITE && m.data.len > INS &&
        sci2c_pcb_parse(m.data.ptr[PCB]).kind == SCI2C_SEND && bus->slave.phase != SLAVE_COLLECTING)
        bus->ins = m.data.ptr[INS];
}

/* What the rules have for a transaction at the chip's address. */
static struct bus_fault
next_fault(struct i2c *bus, struct span request)
{
    struct sim_options *o = backend_sim_options(bus->chip);
    struct bus_fault none = { .trouble = BUS_FINE };
    struct fault *f;
    uint32_t value;

    if (o == NULL || o->faults.count == 0 || request.len == 0 || request.ptr[0] != SCI2C_ADDRESS)
        return none;
    note_instruction(bus, request);
    f = faults_at(&o->faults, FAULT_FRAME, bus->ins);
    if (f == NULL)
        return none;
    value = fault_value(f);
    log_debug("fault on the I2C bus: %s", f->text);
    switch (f->kind) {
    case FAULT_FRAME_NACK:
        return (struct bus_fault){ BUS_NACK, 0 };
    case FAULT_FRAME_FLIP:
        return (struct bus_fault){ BUS_FLIP, value };
    case FAULT_FRAME_CUT:
        return (struct bus_fault){ BUS_CUT, value };
    case FAULT_FRAME_BUSY:
        bus->slave.stuck = SLAVE_STAYS_BUSY;
        return none;
    case FAULT_FRAME_HANG:
        bus->slave.stuck = SLAVE_HANGS;
        return none;
    case FAULT_FRAME_RESET:
        restart(bus);
        return none;
    case FAULT_FRAME_EXCEPTION:
        slave_raise(&bus->slave, (enum sci2c_status)value);
        return none;
    default: /* not of this point */
        return none;
    }
}

size_t
i2c_transact(struct i2c *bus, struct span request, uint8_t out[I2CBUS_PACKET_MAX])
{
    size_t len = bus_transact(&bus->slave, request, next_fault(bus, request), out);

    follow_up(bus);
    return len;
}

static void
on_master(void *arg, uint32_t events)
{
    struct master *m = arg;
    struct i2c *bus = m->bus;
    ssize_t n;
    struct span request;

    (void)events;
    if (bus->talking != NULL) { /* nobody is watched then: the connection broke */
        master_drop(m);
        return;
    }
    n = recv(m->fd, bus->in, sizeof bus->in, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* an empty packet looks the same, and is no transaction */
        master_drop(m);
        return;
    }
    if ((size_t)n > sizeof bus->in)
        n = 0; /* cut off: malformed, as bus_transact will say */
    request = span_of(bus->in, (size_t)n);
    bus->out_len = i2c_transact(bus, request, bus->out);
    bus->talking = m;
    pass_time(bus, bus_bytes(request, span_of(bus->out, bus->out_len)));
    bm_wipe(bus->in, (size_t)n); /* keys may have passed */
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
    m->watch = loop_add(bus->loop, fd, bus->talking == NULL ? EPOLLIN : 0, on_master, m);
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
        bus->chip = chip;
        bus->fd = fd;
        for (size_t i = 0; i < I2C_MASTERS_MAX; i++)
            bus->masters[i] = (struct master){ .bus = bus, .fd = -1 };
        err = power_up(bus);
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
