/* SPDX-License-Identifier: Apache-2.0 */
/* See pkcs11.h: the slot, its token, the mechanisms, and sessions. */
#include "openssl/pkcs11/pkcs11.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    P256_BITS = 256,
    CERT_UID_SERIAL = 2, /* before it: the type of the chip */
    PIN_MAX = 255,
};

#define EC_FLAGS (CKF_HW | CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS)

static const struct {
    CK_MECHANISM_TYPE type;
    CK_FLAGS flags;
} mechanisms[] = {
    { CKM_EC_KEY_PAIR_GEN, EC_FLAGS | CKF_GENERATE_KEY_PAIR },
    { CKM_ECDSA, EC_FLAGS | CKF_SIGN | CKF_VERIFY },
    { CKM_ECDSA_SHA1, EC_FLAGS | CKF_SIGN | CKF_VERIFY },
    { CKM_ECDSA_SHA224, EC_FLAGS | CKF_SIGN | CKF_VERIFY },
    { CKM_ECDSA_SHA256, EC_FLAGS | CKF_SIGN | CKF_VERIFY },
    { CKM_ECDSA_SHA384, EC_FLAGS | CKF_SIGN | CKF_VERIFY },
    { CKM_ECDSA_SHA512, EC_FLAGS | CKF_SIGN | CKF_VERIFY },
    { CKM_ECDH1_DERIVE, EC_FLAGS | CKF_DERIVE },
};

enum { MECHANISM_COUNT = sizeof mechanisms / sizeof *mechanisms };

void
p11_text(unsigned char *out, size_t len, const char *text)
{
    memset(out, ' ', len);
    memcpy(out, text, strlen(text) < len ? strlen(text) : len);
}

/* --- slot and token ------------------------------------------------------------------------- */

struct token {
    uint8_t uid[A71CH_UID_LEN];
    a71ch_module_info info;
};

static a71ch_result
read_uid(a71ch *chip, void *arg)
{
    struct token *t = arg;

    return a71ch_get_unique_id(chip, t->uid);
}

static a71ch_result
read_token(a71ch *chip, void *arg)
{
    struct token *t = arg;
    a71ch_result res = a71ch_get_unique_id(chip, t->uid);

    return res == A71CH_OK ? a71ch_get_module_info(chip, &t->info) : res;
}

/* CKR_OK: the chip answers. */
static CK_RV
ask(struct module *m, shared_chip_fn *fn, struct token *t)
{
    struct bm_msg msg = { "" };
    enum bm_err err = shared_chip_do(m->chip, SHARED_CHIP_AGAIN, fn, t, &msg);

    return p11_chip_result(m, err, &msg, CKR_TOKEN_NOT_PRESENT);
}

static CK_RV
presence(struct module *m)
{
    struct token t;

    return ask(m, read_uid, &t);
}

/* Enter for a call about the slot. */
static CK_RV
enter_slot(CK_SLOT_ID slot, struct module **m)
{
    CK_RV rv = p11_enter(m);

    if (rv != CKR_OK)
        return rv;
    return slot == SLOT ? CKR_OK : p11_leave(CKR_SLOT_ID_INVALID);
}

CK_RV
p11_get_slot_list(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count)
{
    struct module *m;
    CK_RV rv = p11_enter(&m);
    CK_ULONG room;

    if (rv != CKR_OK)
        return rv;
    if (count == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    room = *count;
    *count = !present || presence(m) == CKR_OK ? 1 : 0;
    if (list != NULL && *count > room)
        return p11_leave(CKR_BUFFER_TOO_SMALL);
    if (list != NULL && *count == 1)
        list[0] = SLOT;
    return p11_leave(CKR_OK);
}

CK_RV
p11_get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info)
{
    struct module *m;
    CK_RV rv = enter_slot(slot, &m);

    if (rv != CKR_OK)
        return rv;
    if (info == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    *info = (CK_SLOT_INFO){ .flags = CKF_HW_SLOT | CKF_REMOVABLE_DEVICE };
    if (presence(m) == CKR_OK)
        info->flags |= CKF_TOKEN_PRESENT;
    p11_text(info->slotDescription, sizeof info->slotDescription, "A71CH");
    p11_text(info->manufacturerID, sizeof info->manufacturerID, "NXP");
    return p11_leave(CKR_OK);
}

static unsigned
count_writable(const struct module *m)
{
    unsigned n = 0;

    for (const struct session *s = m->sessions; s != NULL; s = s->next)
        n += s->writable;
    return n;
}

static void
describe(const struct module *m, const struct token *t, CK_TOKEN_INFO_PTR info)
{
    uint8_t uid[A71CH_CERT_UID_LEN];
    char serial[2 * A71CH_CERT_UID_LEN + 1];
    char label[sizeof info->label + 1];

    a71ch_cert_uid(t->uid, uid);
    hex_encode(serial, uid, sizeof uid);
    (void)snprintf(label, sizeof label, "A71CH %.16s", &serial[2 * CERT_UID_SERIAL]);
    *info = (CK_TOKEN_INFO){
        .flags = CKF_RNG | CKF_TOKEN_INITIALIZED,
        .ulMaxSessionCount = SESSIONS_MAX,
        .ulSessionCount = m->session_count,
        .ulMaxRwSessionCount = SESSIONS_MAX,
        .ulRwSessionCount = count_writable(m),
        .ulMaxPinLen = PIN_MAX, /* some clients look before they ask; any PIN will do */
        .ulTotalPublicMemory = t->info.gp_size,
        .ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION,
        .ulTotalPrivateMemory = CK_UNAVAILABLE_INFORMATION,
        .ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION,
        .firmwareVersion = { (CK_BYTE)(t->info.applet_version >> 8),
            (CK_BYTE)(t->info.applet_version >> 4 & 0x0f) },
    };
    p11_text(info->label, sizeof info->label, label);
    p11_text(info->manufacturerID, sizeof info->manufacturerID, "NXP");
    p11_text(info->model, sizeof info->model, "A71CH");
    p11_text(info->serialNumber, sizeof info->serialNumber, &serial[2 * CERT_UID_SERIAL]);
    p11_text(info->utcTime, sizeof info->utcTime, "");
}

CK_RV
p11_get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    struct module *m;
    struct token t;
    CK_RV rv = enter_slot(slot, &m);

    if (rv != CKR_OK)
        return rv;
    if (info == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    rv = ask(m, read_token, &t);
    if (rv == CKR_OK)
        describe(m, &t, info);
    return p11_leave(rv);
}

CK_RV
p11_wait_for_slot_event(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved)
{
    struct module *m;
    CK_RV rv = p11_enter(&m);

    if (rv != CKR_OK)
        return rv;
    if (slot == NULL || reserved != NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    return p11_leave((flags & CKF_DONT_BLOCK) != 0 ? CKR_NO_EVENT : CKR_FUNCTION_NOT_SUPPORTED);
}

/* --- mechanisms ----------------------------------------------------------------------------- */

CK_RV
p11_get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
    struct module *m;
    CK_RV rv = enter_slot(slot, &m);
    CK_ULONG room;

    if (rv != CKR_OK)
        return rv;
    if (count == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    room = *count;
    *count = MECHANISM_COUNT;
    if (list != NULL && room < MECHANISM_COUNT)
        return p11_leave(CKR_BUFFER_TOO_SMALL);
    for (size_t i = 0; list != NULL && i < MECHANISM_COUNT; i++)
        list[i] = mechanisms[i].type;
    return p11_leave(CKR_OK);
}

CK_RV
p11_get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
    struct module *m;
    CK_RV rv = enter_slot(slot, &m);

    if (rv != CKR_OK)
        return rv;
    if (info == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    for (size_t i = 0; i < MECHANISM_COUNT; i++) {
        if (mechanisms[i].type != type)
            continue;
        *info = (CK_MECHANISM_INFO){ P256_BITS, P256_BITS, mechanisms[i].flags };
        return p11_leave(CKR_OK);
    }
    return p11_leave(CKR_MECHANISM_INVALID);
}

/* --- sessions ------------------------------------------------------------------------------- */

CK_RV
p11_open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
    CK_SESSION_HANDLE_PTR handle)
{
    struct module *m;
    struct session *s;
    CK_RV rv = enter_slot(slot, &m);

    (void)application;
    (void)notify;
    if (rv != CKR_OK)
        return rv;
    if (handle == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    if ((flags & CKF_SERIAL_SESSION) == 0)
        return p11_leave(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    if (m->session_count == SESSIONS_MAX)
        return p11_leave(CKR_SESSION_COUNT);
    rv = presence(m);
    if (rv != CKR_OK)
        return p11_leave(rv);
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return p11_leave(CKR_HOST_MEMORY);
    s->module = m;
    s->handle = *handle = ++m->last_session;
    s->writable = (flags & CKF_RW_SESSION) != 0;
    s->next = m->sessions;
    m->sessions = s;
    m->session_count++;
    return p11_leave(CKR_OK);
}

static void
drop_session(struct session *s)
{
    struct module *m = s->module;
    struct session **at = &m->sessions;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    p11_drop_secrets(m, s->handle);
    free(s->found);
    bm_wipe(s, sizeof *s);
    free(s);
    m->session_count--;
    m->user = m->user && m->session_count > 0;
}

void
p11_drop_sessions(struct module *m)
{
    while (m->sessions != NULL)
        drop_session(m->sessions);
}

CK_RV
p11_close_session(CK_SESSION_HANDLE handle)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    drop_session(s);
    return p11_leave(CKR_OK);
}

CK_RV
p11_close_all_sessions(CK_SLOT_ID slot)
{
    struct module *m;
    CK_RV rv = enter_slot(slot, &m);

    if (rv != CKR_OK)
        return rv;
    p11_drop_sessions(m);
    return p11_leave(CKR_OK);
}

CK_RV
p11_get_session_info(CK_SESSION_HANDLE handle, CK_SESSION_INFO_PTR info)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);
    bool user;

    if (rv != CKR_OK)
        return rv;
    if (info == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    user = s->module->user;
    *info = (CK_SESSION_INFO){ .slotID = SLOT, .flags = CKF_SERIAL_SESSION };
    info->state = user ? CKS_RO_USER_FUNCTIONS : CKS_RO_PUBLIC_SESSION;
    if (s->writable) {
        info->state = user ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION;
        info->flags |= CKF_RW_SESSION;
    }
    return p11_leave(CKR_OK);
}

/* There is nothing to guard, and clients that always log in must get on: any PIN will do. */
CK_RV
p11_login(CK_SESSION_HANDLE handle, CK_USER_TYPE type, CK_UTF8CHAR_PTR pin, CK_ULONG pin_len)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (pin == NULL && pin_len > 0)
        return p11_leave(CKR_ARGUMENTS_BAD);
    if (type == CKU_CONTEXT_SPECIFIC) /* no key asks for it */
        return p11_leave(CKR_OPERATION_NOT_INITIALIZED);
    if (type != CKU_USER)
        return p11_leave(p11_fail(
            s->module, CKR_USER_TYPE_INVALID, "the chip has no security officer, only a user"));
    if (s->module->user)
        return p11_leave(CKR_USER_ALREADY_LOGGED_IN);
    s->module->user = true;
    return p11_leave(CKR_OK);
}

CK_RV
p11_logout(CK_SESSION_HANDLE handle)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    rv = s->module->user ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
    s->module->user = false;
    return p11_leave(rv);
}
