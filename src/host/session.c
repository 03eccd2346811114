/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handle of liba71ch: open, close, what is known about a failure, raw APDUs. SPEC
 * a71ch 1.1, 6.1.
 */
#include "host/host.h"

#include "host/i2c.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CONNECT_MS = 5000, DEFAULT_ANSWER_MS = 30000 };

void
host_begin(a71ch *chip)
{
    chip->status_word = 0;
    chip->sys_errno = 0;
    chip->msg.text[0] = '\0';
}

a71ch_result
host_fail(a71ch *chip, a71ch_result result, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(chip->msg.text, sizeof chip->msg.text, fmt, ap);
    va_end(ap);
    return result;
}

a71ch_result
host_result(enum bm_err err)
{
    switch (err) {
    case BM_OK:
        return A71CH_OK;
    case BM_ERR_ARG:
        return A71CH_ERR_ARG;
    case BM_ERR_IO:
    case BM_ERR_CLOSED:
        return A71CH_ERR_IO;
    case BM_ERR_TIMEOUT:
        return A71CH_ERR_TIMEOUT;
    case BM_ERR_SPACE:
        return A71CH_ERR_SPACE;
    case BM_ERR_MEM:
        return A71CH_ERR_MEMORY;
    case BM_ERR_STATUS:
        return A71CH_ERR_STATUS;
    case BM_ERR_INPUT:
    case BM_ERR_MORE:
    case BM_ERR_LIMIT:
    case BM_ERR_PROTO:
    case BM_ERR_DENIED:
    case BM_ERR_NOT_FOUND:
    case BM_ERR_EXISTS:
    case BM_ERR_CONFLICT:
    case BM_ERR_INTERNAL:
        return A71CH_ERR_RESPONSE;
    }
    return A71CH_ERR_RESPONSE;
}

a71ch_result
host_exchange(a71ch *chip, const struct jrcp_msg *request, struct answer *out)
{
    uint8_t room[JRCP_MESSAGE_MAX];
    struct jrcp_msg reply;
    a71ch_result res = host_result(
        chip->exchange(&chip->link, request, chip->answer_timeout_ms, room, &reply, &chip->msg));

    chip->sys_errno = chip->link.sys_errno;
    if (res == A71CH_OK && reply.payload.len > sizeof out->bytes)
        res = host_fail(chip, A71CH_ERR_RESPONSE,
            "%s answered with %zu bytes, more than the %zu of the longest APDU", chip->link.name,
            reply.payload.len, sizeof out->bytes);
    if (res == A71CH_OK) {
        struct wr w = wr_of(out->bytes, sizeof out->bytes);

        wr_span(&w, reply.payload);
        out->len = wr_len(&w);
    }
    bm_wipe(room, sizeof room);
    return res;
}

static a71ch_result
split(a71ch *chip, struct answer *out)
{
    if (apdu_split(span_of(out->bytes, out->len), &out->data, &out->sw) != BM_OK)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "%s answered with %zu bytes where at least a status word of 2 must come; look at its "
            "log",
            chip->link.name, out->len);
    chip->status_word = out->sw;
    return A71CH_OK;
}

a71ch_result
host_send(a71ch *chip, struct span cmd, struct answer *out)
{
    struct jrcp_msg request = { .mty = JRCP_APDU, .payload = cmd };
    a71ch_result res = host_exchange(chip, &request, out);

    return res == A71CH_OK ? split(chip, out) : res;
}

bool
host_filtered(a71ch *chip, struct span cmd, struct answer *out, a71ch_result *res)
{
    out->len =
        chip->filter != NULL ? chip->filter(chip->filter_arg, cmd.ptr, cmd.len, out->bytes) : 0;
    if (out->len == 0)
        return false;
    *res = split(chip, out);
    return true;
}

a71ch_result
host_apdu(a71ch *chip, struct span cmd, struct answer *out)
{
    a71ch_result res;

    return host_filtered(chip, cmd, out, &res) ? res : host_send(chip, cmd, out);
}

/* What the status word says, and what cures it. SPEC a71ch 2.2. */
static const char *
status_hint(uint16_t sw)
{
    switch (sw) {
    case SW_WRONG_LENGTH:
        return "wrong length";
    case SW_SECURITY_STATUS:
        return "security status: the chip wants a secure channel";
    case SW_CONDITIONS:
        return "conditions of use: the slot is empty, or the chip is locked; fill the slot first";
    case SW_NOT_ALLOWED:
        return "not allowed: the object is frozen, or plain injection is locked";
    case SW_WRONG_DATA:
        return "wrong data";
    case SW_NOT_FOUND:
        return "not found: no A71CH applet there";
    case SW_WRONG_P1P2:
        return "wrong parameter: the chip has no such slot";
    case SW_INS_UNKNOWN:
        return "unknown instruction: this chip does not have it, or its debug mode is off";
    case SW_CLA_UNKNOWN:
        return "unknown class";
    default:
        return "no meaning known";
    }
}

/* "sign with key pair 0" */
static const char *
task_text(struct task task, char out[96])
{
    if (task.number < 0)
        (void)snprintf(out, 96, "%s", task.what);
    else
        (void)snprintf(out, 96, "%s %d", task.what, task.number);
    return out;
}

/* These go around the channel, SPEC a71ch 1.6. */
static bool
always_clear(const struct apdu *cmd)
{
    enum { FREE_MEMORY = 2 };

    return cmd->ins == INS_DEBUG_RESET || cmd->ins == INS_DEBUG_DISABLE || cmd->ins == INS_SELECT ||
           (cmd->ins == INS_MODULE_GET && cmd->p2 == FREE_MEMORY);
}

static a71ch_result
clear_apdu(a71ch *chip, const struct apdu *cmd, struct answer *out)
{
    uint8_t bytes[APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    a71ch_result res;

    if (apdu_build(&w, cmd) != BM_OK)
        return host_fail(chip, A71CH_ERR_ARG, "%zu bytes do not fit one command", cmd->data.len);
    res = host_apdu(chip, span_of(bytes, wr_len(&w)), out);
    bm_wipe(bytes, sizeof bytes); /* may hold a private key */
    return res;
}

a71ch_result
host_command(a71ch *chip, struct task task, const struct apdu *cmd, int want, struct answer *out)
{
    char what[96];
    a71ch_result res = host_channel_wanted(chip) && !always_clear(cmd)
                           ? host_channel_apdu(chip, cmd, out)
                           : clear_apdu(chip, cmd, out);

    if (res != A71CH_OK)
        return res;
    if (out->sw != SW_OK)
        return host_fail(chip, A71CH_ERR_STATUS, "cannot %s: the chip answered %04X (%s)",
            task_text(task, what), out->sw,
            a71ch_channel_state(chip) == A71CH_CHANNEL_OVER ? "it has ended the secure channel"
                                                            : status_hint(out->sw));
    if (want != ANY_LEN && out->data.len != (size_t)want)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "cannot %s: the chip answered with %zu bytes of data instead of %d",
            task_text(task, what), out->data.len, want);
    return A71CH_OK;
}

a71ch_result
host_fetch(a71ch *chip, struct task task, const struct apdu *cmd, size_t len, uint8_t *out)
{
    struct answer ans;
    a71ch_result res = host_command(chip, task, cmd, (int)len, &ans);

    if (res == A71CH_OK && len > 0)
        memcpy(out, ans.data.ptr, len);
    bm_wipe(&ans, sizeof ans);
    return res;
}

a71ch_result
host_order(a71ch *chip, struct task task, const struct apdu *cmd)
{
    struct answer ans;

    return host_command(chip, task, cmd, 0, &ans);
}

a71ch_result
host_point(a71ch *chip, struct task task, const struct apdu *cmd, uint8_t out[A71CH_POINT_LEN])
{
    struct answer ans;
    char what[96];
    a71ch_result res = host_command(chip, task, cmd, A71CH_POINT_LEN, &ans);

    if (res != A71CH_OK)
        return res;
    if (ans.data.ptr[0] != 0x04)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "cannot %s: the chip answered with something else than an uncompressed point",
            task_text(task, what));
    memcpy(out, ans.data.ptr, A71CH_POINT_LEN);
    return A71CH_OK;
}

a71ch_result
host_check_index(a71ch *chip, const char *what, unsigned index, unsigned count)
{
    host_begin(chip);
    if (index < count)
        return A71CH_OK;
    return host_fail(
        chip, A71CH_ERR_ARG, "there is no %s %u; the chip has 0 to %u", what, index, count - 1);
}

/* The server powers the chip and hands over its ATR. SPEC a71ch 6.1. */
static a71ch_result
power_up(a71ch *chip)
{
    static const uint8_t wait_256_ms[] = { 0x00, 0x00, 0x01, 0x00 };
    struct jrcp_msg request = { .mty = JRCP_WAIT_FOR_CARD, .payload = SPAN(wait_256_ms) };
    struct answer ans;
    struct wr w = wr_of(chip->atr, sizeof chip->atr);
    a71ch_result res = host_exchange(chip, &request, &ans);

    if (res != A71CH_OK)
        return res;
    if (ans.len == 0)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "%s has no chip (empty ATR); connect a chip to the server", chip->link.name);
    wr_bytes(&w, ans.bytes, ans.len);
    if (w.failed)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "%s gave an ATR of %zu bytes, longer than %d; is it a chip's server?", chip->link.name,
            ans.len, A71CH_ATR_MAX);
    chip->atr_len = ans.len;
    return A71CH_OK;
}

static a71ch_result
select_applet(a71ch *chip)
{
    static const uint8_t aid[] = { 'a', '7', '1', 'c', 'h' };
    struct apdu cmd = { .ins = INS_SELECT, .p1 = 0x04, .data = SPAN(aid), .le = 256 };
    struct answer ans;
    struct rd r;
    a71ch_result res =
        host_command(chip, (struct task){ "select the A71CH applet", -1 }, &cmd, ANY_LEN, &ans);

    if (res == A71CH_ERR_STATUS)
        return A71CH_ERR_SELECT;
    if (res != A71CH_OK)
        return res;
    r = rd_of(ans.data);
    chip->applet_version = rd_u16(&r);
    chip->securebox_version = rd_left(&r) > 0 ? rd_u16(&r) : 0; /* absent on the product */
    if (!rd_done(&r))
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the applet answered SELECT with %zu bytes instead of 2 or 4; is it an A71CH?",
            ans.data.len);
    return A71CH_OK;
}

a71ch_result
host_locate(a71ch *chip, const char *address)
{
    enum bm_err err = address != NULL ? chip_address_parse(address, &chip->address, &chip->msg)
                                      : chip_address_from_environment(&chip->address, &chip->msg);

    if (err != BM_OK)
        return A71CH_ERR_ADDRESS;
    if (chip->address.kind == ADDRESS_I2C)
        chip->exchange = i2c_exchange;
    return A71CH_OK;
}

a71ch_result
host_connect(a71ch *chip, const a71ch_options *o, bool resume)
{
    unsigned connect_ms =
        o != NULL && o->connect_timeout_ms != 0 ? o->connect_timeout_ms : DEFAULT_CONNECT_MS;
    enum bm_err err = link_open(&chip->link, &chip->address, connect_ms, resume, &chip->msg);

    chip->answer_timeout_ms =
        o != NULL && o->answer_timeout_ms != 0 ? o->answer_timeout_ms : DEFAULT_ANSWER_MS;
    chip->sys_errno = chip->link.sys_errno;
    if (err != BM_OK)
        return err == BM_ERR_TIMEOUT ? A71CH_ERR_TIMEOUT : A71CH_ERR_CONNECT;
    return A71CH_OK;
}

a71ch *
host_new(void)
{
    a71ch *chip = calloc(1, sizeof *chip);

    if (chip == NULL)
        return NULL;
    chip->link.fd = -1;
    chip->exchange = link_exchange;
    (void)snprintf(chip->link.name, sizeof chip->link.name, "the chip");
    return chip;
}

a71ch_result
a71ch_open(const char *address, const a71ch_options *options, a71ch **out)
{
    a71ch *chip = host_new();
    a71ch_result res;

    *out = chip;
    if (chip == NULL)
        return A71CH_ERR_MEMORY;
    res = host_locate(chip, address);
    if (res == A71CH_OK)
        res = host_connect(chip, options, false);
    if (res == A71CH_OK)
        res = power_up(chip);
    if (res == A71CH_OK)
        res = select_applet(chip);
    if (res != A71CH_OK)
        link_close(&chip->link);
    return res;
}

void
a71ch_close(a71ch *chip)
{
    if (chip == NULL)
        return;
    link_close(&chip->link);
    host_channel_free(chip);
    free(chip);
}

void
a71ch_abandon(a71ch *chip)
{
    if (chip == NULL)
        return;
    link_abandon(&chip->link);
    host_channel_free(chip);
    free(chip);
}

void
a71ch_set_filter(a71ch *chip, a71ch_filter filter, void *arg)
{
    chip->filter = filter;
    chip->filter_arg = arg;
}

const char *
a71ch_message(const a71ch *chip)
{
    return chip->msg.text;
}

uint16_t
a71ch_status_word(const a71ch *chip)
{
    return chip->status_word;
}

int
a71ch_errno(const a71ch *chip)
{
    return chip->sys_errno;
}

const char *
a71ch_address(const a71ch *chip)
{
    return chip->address.text;
}

uint16_t
a71ch_applet_version(const a71ch *chip)
{
    return chip->applet_version;
}

uint16_t
a71ch_securebox_version(const a71ch *chip)
{
    return chip->securebox_version;
}

const char *
a71ch_version(void)
{
    return A71CH_VERSION_STRING;
}

const char *
a71ch_result_name(a71ch_result result)
{
    switch (result) {
    case A71CH_OK:
        return "A71CH_OK";
    case A71CH_ERR_ARG:
        return "A71CH_ERR_ARG";
    case A71CH_ERR_ADDRESS:
        return "A71CH_ERR_ADDRESS";
    case A71CH_ERR_CONNECT:
        return "A71CH_ERR_CONNECT";
    case A71CH_ERR_IO:
        return "A71CH_ERR_IO";
    case A71CH_ERR_TIMEOUT:
        return "A71CH_ERR_TIMEOUT";
    case A71CH_ERR_SELECT:
        return "A71CH_ERR_SELECT";
    case A71CH_ERR_STATUS:
        return "A71CH_ERR_STATUS";
    case A71CH_ERR_RESPONSE:
        return "A71CH_ERR_RESPONSE";
    case A71CH_ERR_SPACE:
        return "A71CH_ERR_SPACE";
    case A71CH_ERR_MEMORY:
        return "A71CH_ERR_MEMORY";
    case A71CH_ERR_NOT_FOUND:
        return "A71CH_ERR_NOT_FOUND";
    case A71CH_ERR_EXISTS:
        return "A71CH_ERR_EXISTS";
    case A71CH_ERR_FULL:
        return "A71CH_ERR_FULL";
    case A71CH_ERR_FROZEN:
        return "A71CH_ERR_FROZEN";
    case A71CH_ERR_BUSY:
        return "A71CH_ERR_BUSY";
    case A71CH_ERR_UNSUPPORTED:
        return "A71CH_ERR_UNSUPPORTED";
    case A71CH_ERR_CHANNEL:
        return "A71CH_ERR_CHANNEL";
    case A71CH_ERR_CRYPTOGRAM:
        return "A71CH_ERR_CRYPTOGRAM";
    case A71CH_ERR_MAC:
        return "A71CH_ERR_MAC";
    case A71CH_ERR_PADDING:
        return "A71CH_ERR_PADDING";
    case A71CH_ERR_SESSION:
        return "A71CH_ERR_SESSION";
    }
    return "A71CH_ERR_UNKNOWN";
}

a71ch_result
a71ch_atr(const a71ch *chip, uint8_t *out, size_t cap, size_t *len)
{
    *len = chip->atr_len;
    if (cap > 0 && chip->atr_len > 0)
        memcpy(out, chip->atr, cap < chip->atr_len ? cap : chip->atr_len);
    return cap < chip->atr_len ? A71CH_ERR_SPACE : A71CH_OK;
}

a71ch_result
a71ch_transceive(a71ch *chip, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t *rsp_len)
{
    struct answer ans;
    a71ch_result res;

    host_begin(chip);
    if (cmd_len < 4 || cmd_len > APDU_CMD_MAX)
        return host_fail(chip, A71CH_ERR_ARG, "a command APDU has 4 to %d bytes, not %zu",
            APDU_CMD_MAX, cmd_len);
    res = host_apdu(chip, span_of(cmd, cmd_len), &ans);
    if (res == A71CH_OK && ans.len > *rsp_len)
        res = host_fail(chip, A71CH_ERR_SPACE,
            "the answer has %zu bytes, the buffer holds %zu; give one of %d bytes", ans.len,
            *rsp_len, A71CH_APDU_RSP_MAX);
    if (res == A71CH_OK) {
        memcpy(rsp, ans.bytes, ans.len);
        *rsp_len = ans.len;
    }
    bm_wipe(&ans, sizeof ans);
    return res;
}
