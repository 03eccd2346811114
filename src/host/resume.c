/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See resume.h: hand a connection to the next program. What comes in is outside bytes, judged whole
 * before anything is sent; then one command shows that the chip goes on with it.
 */
#include "host/resume.h"

#include "scp03/client.h"
#include "wire/sci2c.h"

#include <stdio.h>
#include <string.h>

enum { VERSION = 1, LINK_I2C = 1, LINK_SOCKET = 2 };

static const uint8_t magic[] = { 'A', '7', '1', 'S' };

uint32_t
session_crc(struct span bytes)
{
    uint32_t crc = UINT32_MAX;

    for (struct rd r = rd_of(bytes); rd_left(&r) > 0;) {
        crc ^= rd_u8(&r);
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (UINT32_C(0xedb88320) & (0 - (crc & 1))); /* no branch on a key */
    }
    return ~crc;
}

static uint8_t
link_kind(const a71ch *chip)
{
    return chip->address.kind == ADDRESS_I2C ? LINK_I2C : LINK_SOCKET;
}

a71ch_result
session_write(a71ch *chip, struct wr *out)
{
    size_t start = wr_len(out);
    bool up = host_channel_wanted(chip);

    wr_bytes(out, magic, sizeof magic);
    wr_u8(out, VERSION);
    wr_u8(out, link_kind(chip));
    wr_u8(out, chip->link.sequence);
    wr_u16(out, chip->applet_version);
    wr_u16(out, chip->securebox_version);
    wr_u8(out, (uint8_t)chip->atr_len);
    wr_bytes(out, chip->atr, chip->atr_len);
    wr_u8(out, up ? 1 : 0);
    if (up && scp03_client_save(chip->channel, out) == BM_ERR_CONFLICT)
        return host_fail(chip, A71CH_ERR_CHANNEL,
            "the secure channel is over, and a session without it would not be the same; open it "
            "again, or close it");
    wr_u32(out, session_crc(span_of(out->start + start, wr_len(out) - start)));
    return out->failed ? A71CH_ERR_SPACE : A71CH_OK;
}

static a71ch_result
bad_session(a71ch *chip, const char *why)
{
    return host_fail(
        chip, A71CH_ERR_SESSION, "the session cannot be resumed: %s; open a new connection", why);
}

/* Magic, version, CRC: then the reader stands behind the version. */
static a71ch_result
check_whole(a71ch *chip, struct span bytes, struct rd *r)
{
    struct rd crc;
    struct span covered;

    if (bytes.len < SESSION_HEAD_LEN + SESSION_CRC_LEN ||
        memcmp(bytes.ptr, magic, sizeof magic) != 0)
        return bad_session(chip, "these bytes are none");
    if (bytes.ptr[sizeof magic] != VERSION)
        return bad_session(chip, "it was exported by another version of the library");
    covered = span_of(bytes.ptr, bytes.len - SESSION_CRC_LEN);
    crc = rd_of(span_of(&bytes.ptr[covered.len], SESSION_CRC_LEN));
    if (rd_u32(&crc) != session_crc(covered))
        return bad_session(chip, "its bytes were damaged");
    *r = rd_of(covered);
    (void)rd_span(r, SESSION_HEAD_LEN);
    return A71CH_OK;
}

a71ch_result
session_read(a71ch *chip, struct span bytes)
{
    struct rd r;
    uint8_t link;
    uint8_t sequence;
    struct span atr;
    a71ch_result res = check_whole(chip, bytes, &r);

    if (res != A71CH_OK)
        return res;
    link = rd_u8(&r);
    sequence = rd_u8(&r);
    chip->applet_version = rd_u16(&r);
    chip->securebox_version = rd_u16(&r);
    atr = rd_span(&r, rd_u8(&r));
    if (r.failed || atr.len == 0 || atr.len > sizeof chip->atr ||
        sequence >= (link == LINK_I2C ? SCI2C_SEQUENCES : 1))
        return bad_session(chip, "its values are out of range");
    if (link != link_kind(chip))
        return bad_session(chip, "it was exported from another kind of link than this address is");
    memcpy(chip->atr, atr.ptr, atr.len);
    chip->atr_len = atr.len;
    chip->link.sequence = sequence;
    switch (rd_u8(&r)) {
    case 0:
        break;
    case 1:
        res = host_channel_prepare(chip);
        if (res != A71CH_OK)
            return res;
        if (scp03_client_load(chip->channel, &r) == BM_OK)
            break;
        [[fallthrough]];
    default:
        return bad_session(chip, "its values are out of range");
    }
    return rd_done(&r) ? A71CH_OK : bad_session(chip, "its values are out of range");
}

a71ch_result
a71ch_session_export(a71ch *chip, uint8_t *out, size_t *len)
{
    uint8_t room[A71CH_SESSION_MAX];
    struct wr w = wr_of(room, sizeof room);
    struct wr to = wr_of(out, *len);
    a71ch_result res;

    host_begin(chip);
    if (chip->address.kind == ADDRESS_SIM)
        return host_fail(chip, A71CH_ERR_UNSUPPORTED,
            "the chip at %s ends with this handle, so its session cannot be resumed; start an "
            "a71chd of its own",
            chip->link.name);
    if (chip->link.fd < 0)
        return host_fail(chip, A71CH_ERR_IO,
            "there is no connection to %s any more, so no session to resume", chip->link.name);
    res = session_write(chip, &w);
    if (res == A71CH_OK) {
        wr_bytes(&to, room, wr_len(&w));
        if (to.failed)
            res = host_fail(chip, A71CH_ERR_SPACE, "the session has %zu bytes, there is room for "
                                                   "%zu",
                wr_len(&w), *len);
        *len = wr_len(&w);
    }
    bm_wipe(room, sizeof room);
    if (res == A71CH_OK) { /* only one may go on, and that is not this one */
        host_channel_free(chip);
        link_close(&chip->link);
    }
    return res;
}

/* Does the chip go on? Module info needs no right but a selected applet and, if mandatory, the
 * channel. */
static a71ch_result
prove(a71ch *chip)
{
    char why[BM_MSG_LEN];
    a71ch_module_info info;
    a71ch_result res = a71ch_get_module_info(chip, &info);

    /* a sequence number or a status word that was not expected: somebody has been here */
    if (res != A71CH_ERR_STATUS && res != A71CH_ERR_RESPONSE)
        return res;
    (void)snprintf(why, sizeof why, "%.300s", chip->msg.text);
    return host_fail(chip, A71CH_ERR_SESSION,
        "the chip does not go on with this session (%s): it was used, reset or switched off since, "
        "or the session was resumed before; open a new connection",
        why);
}

static a71ch_result
resume(a71ch *chip, const char *address, const a71ch_options *options, struct span session)
{
    a71ch_result res = host_locate(chip, address);
    uint8_t sequence;

    if (res == A71CH_OK && chip->address.kind == ADDRESS_SIM)
        res = host_fail(chip, A71CH_ERR_UNSUPPORTED,
            "a chip at sim:DIR begins with its handle, so no session can be resumed there");
    if (res == A71CH_OK)
        res = session_read(chip, session);
    sequence = chip->link.sequence;
    if (res == A71CH_OK)
        res = host_connect(chip, options, true);
    chip->link.sequence = sequence;
    return res == A71CH_OK ? prove(chip) : res;
}

a71ch_result
a71ch_session_resume(const char *address, const a71ch_options *options, const uint8_t *session,
    size_t len, a71ch **out)
{
    a71ch *chip = host_new();
    a71ch_result res;

    *out = chip;
    if (chip == NULL)
        return A71CH_ERR_MEMORY;
    res = resume(chip, address, options, span_of(session, len));
    if (res != A71CH_OK) {
        link_close(&chip->link);
        host_channel_free(chip);
    }
    return res;
}
