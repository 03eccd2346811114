/* SPDX-License-Identifier: Apache-2.0 */
/* See slave.h. SPEC a71ch 5. */
#include "bus/slave.h"

#include <string.h>

enum bm_err
slave_init(struct slave *s, struct span atr, const struct slave_choices *choices)
{
    static const struct slave_choices usual = { .reset_reply = SCI2C_PCB_SOFT_RESET };

    if (atr.len > SLAVE_ATR_MAX)
        return BM_ERR_ARG;
    *s = (struct slave){ .atr_len = atr.len, .choices = choices != NULL ? *choices : usual };
    memcpy(s->atr, atr.ptr, atr.len);
    return BM_OK;
}

static bool
busy(const struct slave *s)
{
    return s->phase == SLAVE_RUNNING || s->stuck != SLAVE_FREE;
}

/* Forget command and answer; both may have held keys. */
static void
drop_exchange(struct slave *s)
{
    bm_wipe(s->command, sizeof s->command);
    bm_wipe(s->answer, sizeof s->answer);
    s->command_len = s->answer_len = s->answer_sent = 0;
    s->phase = SLAVE_IDLE;
}

void
slave_raise(struct slave *s, enum sci2c_status status)
{
    drop_exchange(s);
    s->status = status;
}

static void
soft_reset(struct slave *s)
{
    drop_exchange(s);
    s->stuck = SLAVE_FREE;
    s->status = SCI2C_READY;
    s->sequence = 0;
    s->size_code = 0;
    s->reset = true;
}

/* What is wrong with a piece of a command, or SCI2C_READY. */
static enum sci2c_status
judge_piece(const struct slave *s, const struct sci2c_pcb *pcb, struct rd *r, struct span *data)
{
    size_t had = s->phase == SLAVE_COLLECTING ? s->command_len : 0;

    if (pcb->edc != 0)
        return SCI2C_BAD_EDC;
    if (pcb->sequence != s->sequence)
        return SCI2C_BAD_SEQUENCE;
    if (sci2c_send_parse(r, data) != BM_OK || data->len > sizeof s->command - had)
        return SCI2C_BAD_LENGTH;
    return SCI2C_READY;
}

static void
take_piece(struct slave *s, const struct sci2c_pcb *pcb, struct rd *r)
{
    struct span data = { 0 };
    enum sci2c_status wrong = judge_piece(s, pcb, r, &data);
    struct wr w;

    if (wrong != SCI2C_READY) {
        slave_raise(s, wrong);
        return;
    }
    if (s->phase != SLAVE_COLLECTING)
        drop_exchange(s);
    s->status = SCI2C_READY;
    s->sequence = (uint8_t)((s->sequence + 1) % SCI2C_SEQUENCES);
    w = wr_of(&s->command[s->command_len], sizeof s->command - s->command_len);
    wr_span(&w, data);
    s->command_len += data.len;
    s->phase = pcb->more ? SLAVE_COLLECTING : SLAVE_RUNNING;
}

bool
slave_write(struct slave *s, struct span bytes)
{
    struct rd r = rd_of(bytes);
    struct sci2c_pcb pcb;

    if (bytes.len == 0)
        return true;
    pcb = sci2c_pcb_parse(rd_u8(&r));
    if (pcb.kind == SCI2C_WAKE_UP && bytes.len == 1)
        return s->choices.wakes;
    if (busy(s))
        return false;
    if (pcb.kind == SCI2C_SEND)
        take_piece(s, &pcb, &r);
    else /* a request without its read, or nothing we know */
        slave_raise(s, SCI2C_UNEXPECTED);
    return true;
}

static void
reply_status(struct slave *s, struct wr *out)
{
    enum sci2c_status status = busy(s) ? SCI2C_BUSY : s->status;

    if (status != SCI2C_BUSY)
        s->status = SCI2C_READY; /* told once */
    (void)sci2c_reply_build(out, sci2c_status_byte(status), (struct span){ 0 });
}

/* The next piece of the answer. */
static void
reply_data(struct slave *s, struct wr *out)
{
    size_t left = s->answer_len - s->answer_sent;
    size_t room = sci2c_frame_size(s->size_code) - (s->choices.data_counts ? 0 : 2);
    size_t len = left < room ? left : room;
    uint8_t pcb = len < left ? SCI2C_PCB_RECEIVE_FIRST : SCI2C_PCB_RECEIVE; /* bit 7: more */

    if (s->stuck != SLAVE_FREE || s->phase != SLAVE_ANSWERING || s->status != SCI2C_READY) {
        if (!busy(s) && s->status == SCI2C_READY)
            slave_raise(s, SCI2C_UNEXPECTED);
        reply_status(s, out);
        return;
    }
    (void)sci2c_reply_build(out, pcb, span_of(&s->answer[s->answer_sent], len));
    s->answer_sent += len;
    if (len == left)
        drop_exchange(s);
}

bool
slave_request(struct slave *s, struct span bytes, struct wr *out)
{
    struct rd r = rd_of(bytes);
    uint8_t byte = rd_u8(&r);
    struct sci2c_pcb pcb = sci2c_pcb_parse(byte);

    if (bytes.len != 1) /* nothing to answer to, or a piece of a command: it is a write */
        return slave_write(s, bytes);
    switch (pcb.kind) {
    case SCI2C_WAKE_UP:
        return false;
    case SCI2C_SOFT_RESET:
        soft_reset(s);
        (void)sci2c_reply_build(out, s->choices.reset_reply, (struct span){ 0 });
        return true;
    case SCI2C_ATR:
        (void)sci2c_reply_build(out, byte, span_of(s->atr, s->atr_len));
        return true;
    case SCI2C_PARAMETERS:
        s->size_code = pcb.size_code;
        (void)sci2c_reply_build(
            out, sci2c_parameters_reply(pcb.size_code, s->choices.parameters), (struct span){ 0 });
        return true;
    case SCI2C_STATUS:
        reply_status(s, out);
        return true;
    case SCI2C_RECEIVE:
        reply_data(s, out);
        return true;
    case SCI2C_SEND:
    case SCI2C_UNKNOWN:
        break;
    }
    if (!busy(s))
        slave_raise(s, SCI2C_UNEXPECTED);
    reply_status(s, out);
    return true;
}

struct span
slave_pending(const struct slave *s)
{
    return s->phase == SLAVE_RUNNING ? span_of(s->command, s->command_len) : (struct span){ 0 };
}

void
slave_answer(struct slave *s, struct span response)
{
    if (s->phase != SLAVE_RUNNING)
        return;
    if (response.len < 2 || response.len > sizeof s->answer) {
        slave_raise(s, SCI2C_OTHER);
        return;
    }
    drop_exchange(s);
    memcpy(s->answer, response.ptr, response.len);
    s->answer_len = response.len;
    s->phase = SLAVE_ANSWERING;
}

bool
slave_take_reset(struct slave *s)
{
    bool was = s->reset;

    s->reset = false;
    return was;
}
