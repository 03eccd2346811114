/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `probe`: bring-up of a bus or a server, step by step. Ours, not the vendor's. Each step says what
 * was found; the first one that fails says why and what to do, and the rest is left out.
 */
#include "config/atr.h"
#include "config/tool.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DETAIL_LEN = 512, EXCHANGES = 10 };

struct report {
    struct tool *t;
    unsigned steps;
};

static void __attribute__((format(printf, 4, 5)))
step(struct report *r, bool ok, const char *name, const char *fmt, ...)
{
    char detail[DETAIL_LEN];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    if (!r->t->json) {
        printf("%-7s %-9s %s\n", ok ? "ok" : "FAILED", name, detail);
        return;
    }
    fprintf(r->t->data, "%s{", r->steps++ > 0 ? "," : "");
    json_text(r->t->data, "step", name);
    fprintf(r->t->data, ",\"ok\":%s,", ok ? "true" : "false");
    json_text(r->t->data, "detail", detail);
    (void)fputc('}', r->t->data);
}

/* The device of i2c:DEVICE[:0xADDR], else "". */
static void
device_of(const char *address, char out[DETAIL_LEN])
{
    const char *colon;

    out[0] = '\0';
    if (address == NULL || strncmp(address, "i2c:", 4) != 0)
        return;
    (void)snprintf(out, DETAIL_LEN, "%s", &address[4]);
    colon = strrchr(out, ':');
    if (colon != NULL)
        out[colon - out] = '\0';
}

static bool
probe_device(struct report *r, const char *device, int *fd)
{
    struct stat st = { 0 };
    const struct group *owner;
    const char *group;

    *fd = open(device, O_RDWR | O_CLOEXEC);
    if (*fd >= 0) {
        step(r, true, "device", "%s is there and may be used", device);
        return true;
    }
    if (errno == EACCES && stat(device, &st) == 0) {
        owner = getgrgid(st.st_gid);
        group = owner != NULL ? owner->gr_name : "?";
        step(r, false, "device",
            "%s: permission denied; it belongs to group %s: add the user to it (usermod -aG %s "
            "NAME, then log in again), or run as root",
            device, group, group);
    } else {
        step(r, false, "device",
            "%s: %s; load the module i2c-dev (modprobe i2c-dev), switch the bus on in the device "
            "tree, and look with i2cdetect -l",
            device, strerror(errno));
    }
    return false;
}

/* What the kernel calls the adapter; not every bus has a name. */
static void
adapter_name(const char *device, char out[64])
{
    char path[DETAIL_LEN + 64];
    const char *base = strrchr(device, '/');
    FILE *f;

    (void)snprintf(
        path, sizeof path, "/sys/class/i2c-dev/%s/name", base != NULL ? &base[1] : device);
    f = fopen(path, "re");
    if (f == NULL || fgets(out, 64, f) == NULL)
        (void)snprintf(out, 64, "a bus without a name");
    out[strcspn(out, "\n")] = '\0';
    if (f != NULL)
        (void)fclose(f);
}

static bool
probe_adapter(struct report *r, const char *device, int fd)
{
    unsigned long can = 0;
    char name[64];

    adapter_name(device, name);
    if (ioctl(fd, I2C_FUNCS, &can) != 0) {
        step(r, false, "adapter", "%s does not answer I2C_FUNCS (%s); is it an I2C bus?", device,
            strerror(errno));
        return false;
    }
    if ((can & I2C_FUNC_I2C) == 0 || (can & I2C_FUNC_SMBUS_READ_BLOCK_DATA) == 0) {
        step(r, false, "adapter",
            "%s lacks %s, which the chip's protocol needs; use another bus, or i2c-gpio on two "
            "pins",
            name, (can & I2C_FUNC_I2C) == 0 ? "plain I2C transfers" : "SMBus block read");
        return false;
    }
    step(r, true, "adapter", "%s, with I2C transfers and SMBus block read", name);
    return true;
}

static bool
probe_bus(struct report *r, const char *device)
{
    int fd;
    bool ok = probe_device(r, device, &fd);

    if (!ok)
        return false;
    ok = probe_adapter(r, device, fd);
    (void)close(fd);
    return ok;
}

static void
probe_atr(struct report *r)
{
    uint8_t bytes[A71CH_ATR_MAX];
    size_t len = 0;
    struct atr atr;

    if (a71ch_atr(r->t->chip, bytes, sizeof bytes, &len) != A71CH_OK)
        return;
    if (atr_parse(span_of(bytes, len), &atr) != BM_OK)
        step(r, true, "atr", "%zu bytes of another form than an A71CH's on I2C; a card server's?",
            len);
    else
        step(r, true, "atr", "%s, SCI2C %u.%u", atr.name, atr.protocol >> 4, atr.protocol & 0xf);
}

static const char *
scp_text(int state)
{
    return state == 1 ? "SCP03 is mandatory" : state == 3 ? "SCP03 keys are set" : "no SCP03 keys";
}

static enum code
probe_chip(struct report *r)
{
    a71ch_module_info info;
    uint8_t uid[A71CH_UID_LEN];
    char hex[2 * A71CH_UID_LEN + 1];
    int64_t start;
    a71ch_result res = a71ch_get_module_info(r->t->chip, &info);

    if (res == A71CH_OK)
        step(r, true, "applet", "version 0x%04X, %s, %s, transport lock %d, inject lock %d",
            info.applet_version, info.debug ? "evaluation (debug on)" : "production",
            scp_text(info.scp_state), info.transport_lock, info.inject_lock);
    if (res == A71CH_OK)
        res = a71ch_get_unique_id(r->t->chip, uid);
    start = clock_mono_us();
    for (int i = 0; res == A71CH_OK && i < EXCHANGES; i++)
        res = a71ch_get_module_info(r->t->chip, &info);
    if (res != A71CH_OK) {
        step(r, false, "applet", "%s", a71ch_message(r->t->chip));
        return tool_chip_failed(r->t, res);
    }
    hex_encode(hex, uid, sizeof uid);
    step(r, true, "uid", "%s", hex);
    step(r, true, "time", "%.2f ms for each exchange",
        (double)(clock_mono_us() - start) / 1000 / EXCHANGES);
    return CODE_OK;
}

static enum code
probe(struct report *r)
{
    struct tool *t = r->t;
    const char *address = t->address != NULL ? t->address : getenv("A71CH_ADDRESS");
    char device[DETAIL_LEN];
    int64_t start;
    a71ch_result res;

    device_of(address, device);
    if (device[0] != '\0' && !probe_bus(r, device))
        return CODE_SELECT;
    start = clock_mono_us();
    res = tool_open(t);
    if (res == A71CH_ERR_MEMORY)
        return CODE_MEMORY;
    if (res != A71CH_OK) {
        step(r, false, res == A71CH_ERR_ADDRESS ? "address" : "connect", "%s",
            a71ch_message(t->chip));
        return CODE_SELECT;
    }
    step(r, true, "connect", "%s, in %.1f ms", a71ch_address(t->chip),
        (double)(clock_mono_us() - start) / 1000);
    probe_atr(r);
    return probe_chip(r);
}

enum code
cmd_probe(struct tool *t, struct args *a)
{
    struct report r = { t, 0 };
    enum code code;

    (void)a;
    a71ch_close(
        t->chip); /* in a script: the bus has one owner, and connecting is half of the probe */
    t->chip = NULL;
    if (t->json)
        fprintf(t->data, "{\"steps\":[");
    code = probe(&r);
    if (t->json)
        fprintf(t->data, "]}\n");
    if (code != CODE_OK) {
        a71ch_close(t->chip);
        t->chip = NULL;
    }
    return code;
}
