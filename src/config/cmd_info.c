/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `info ...`: what the chip says of itself, as text to the byte of SPEC a71ch 8.4 or as JSON.
 *
 * A command first gathers all its facts and then prints them, so that a chip that fails half way
 * leaves no half output.
 */
#include "config/tool.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SEGMENT_LEN = 32,
    SEGMENTS_MAX = 192,
    GP_SIZE_PRODUCT = 4096,
    GP_SIZE_EARLY = 1024,
    SCP_MANDATORY = 1,
    SCP_KEYS_SET = 3,
    LOCKED = 1,
    TRANSPORT_OPEN_FOR_GOOD = 2,
    TRANSPORT_OPEN = 3,
};

/* A slot's public key, or that it has none. */
struct slot {
    bool filled;
    uint8_t point[A71CH_POINT_LEN];
};

struct facts {
    a71ch_module_info module;
    uint8_t uid[A71CH_UID_LEN];
    uint8_t cert_uid[A71CH_CERT_UID_LEN];
    struct slot pairs[A71CH_PAIR_COUNT];
    struct slot pubs[A71CH_PUB_COUNT];
    uint32_t counters[A71CH_COUNTER_COUNT];
    unsigned gp_offset;
    unsigned gp_segments;
    uint8_t gp[SEGMENTS_MAX * SEGMENT_LEN];
    a71ch_object objects[A71CH_OBJECT_COUNT_MAX];
    size_t object_count;
};

/* gather */

/* Every `info` but `status` asks these two first. SPEC a71ch 8.4. */
static enum code
gather_module(struct tool *t, struct facts *f)
{
    a71ch_result res = a71ch_get_module_info(t->chip, &f->module);

    if (res == A71CH_OK)
        res = a71ch_get_unique_id(t->chip, f->uid);
    if (res != A71CH_OK)
        return tool_chip_failed(t, res);
    a71ch_cert_uid(f->uid, f->cert_uid);
    if (f->module.gp_size != GP_SIZE_PRODUCT && f->module.gp_size != GP_SIZE_EARLY)
        fprintf(stderr, "warning: the chip has %u bytes of storage, neither 1024 nor 4096\n",
            f->module.gp_size);
    return CODE_OK;
}

/* Without a channel the rest would be refused one by one. */
static enum code
gather_open_module(struct tool *t, struct facts *f)
{
    enum code code = gather_module(t, f);

    if (code != CODE_OK || f->module.scp_state != SCP_MANDATORY ||
        a71ch_channel_state(t->chip) != A71CH_CHANNEL_NONE)
        return code;
    printf("info command needs prior setup of SCP03 channel.\n");
    printf("Debug: a7xConfigGetHostScp03State() = 0x00\n");
    fprintf(stderr,
        "this chip wants a secure channel: put 'scp auth' and this command into one script\n");
    t->sw = HOST_UNDEFINED_CHANNEL;
    return CODE_FAILED;
}

/* A slot that the chip refuses to read is one that has no key to show. */
static enum code
gather_slots(struct tool *t, a71ch_result (*get)(a71ch *, unsigned, uint8_t *), struct slot *slots,
    unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        a71ch_result res = get(t->chip, i, slots[i].point);

        if (res != A71CH_OK && res != A71CH_ERR_STATUS)
            return tool_chip_failed(t, res);
        slots[i].filled = res == A71CH_OK;
    }
    return CODE_OK;
}

static enum code
gather_counters(struct tool *t, struct facts *f)
{
    for (unsigned i = 0; i < A71CH_COUNTER_COUNT; i++) {
        a71ch_result res = a71ch_counter_get(t->chip, i, &f->counters[i]);

        if (res != A71CH_OK)
            return tool_chip_failed(t, res);
    }
    return CODE_OK;
}

static enum code
gather_storage(struct tool *t, struct facts *f)
{
    a71ch_result res =
        a71ch_gp_read(t->chip, f->gp_offset, f->gp, (size_t)f->gp_segments * SEGMENT_LEN);

    return res == A71CH_OK ? CODE_OK : tool_chip_failed(t, res);
}

static enum code
gather_objects(struct tool *t, struct facts *f)
{
    return tool_object_done(
        t, a71ch_object_list(t->chip, f->objects, A71CH_OBJECT_COUNT_MAX, &f->object_count));
}

/* print as text */

static const char *
scp_text(int state)
{
    if (state == SCP_MANDATORY)
        return "SCP03 is mandatory";
    return state == SCP_KEYS_SET ? "SCP03 keys set" : "SCP03 is not set up";
}

static const char *
transport_text(int state)
{
    if (state == LOCKED)
        return "Transport Lock is set";
    if (state == TRANSPORT_OPEN_FOR_GOOD)
        return "Open device, Transport Lock can no longer be set";
    return state == TRANSPORT_OPEN ? "Transport Lock NOT YET set" : "Undefined";
}

static void
print_device(const struct facts *f)
{
    const a71ch_module_info *m = &f->module;

    printf("A71CH in %s Version (%s)\n", m->debug ? "Debug Mode" : "Production",
        scp_text(m->scp_state));
    printf("selectResponse:   0x%04X\n", m->applet_version);
    if (m->restricted_pair >= 0)
        printf("restricted keypair index: 0x%02X\n", (unsigned)m->restricted_pair);
    printf("transportLockState: 0x%02X (%s)\n", (unsigned)m->transport_lock,
        transport_text(m->transport_lock));
    printf("injectLockState:    0x%02X (%s)\n", (unsigned)m->inject_lock,
        m->inject_lock == LOCKED ? "Locked" : "Unlocked");
    printf("gpStorageSize:      %u\n", m->gp_size);
    print_bytes_colon("uid", SPAN(f->uid));
    print_bytes_colon("certUid", SPAN(f->cert_uid));
}

static void
print_slots(const char *title, const struct slot *slots, unsigned count)
{
    printf("%s:\n", title);
    for (unsigned i = 0; i < count; i++) {
        printf("\tidx=0x%02X ", i);
        if (slots[i].filled)
            print_bytes_colon("ECC_PUB", SPAN(slots[i].point));
        else
            printf("n.a.\n");
    }
}

static void
print_pairs(const struct facts *f)
{
    print_slots("Public Keys from ECC key pairs", f->pairs, A71CH_PAIR_COUNT);
}

static void
print_pubs(const struct facts *f)
{
    print_slots("Public Keys", f->pubs, A71CH_PUB_COUNT);
}

static void
print_counters(const struct facts *f)
{
    printf("Monotonic counter values:\n");
    for (unsigned i = 0; i < A71CH_COUNTER_COUNT; i++)
        printf("\tidx=0x%02X 0x%08X\n", i, f->counters[i]);
}

static void
print_storage(const struct facts *f)
{
    struct rd r = rd_of(span_of(f->gp, (size_t)f->gp_segments * SEGMENT_LEN));

    printf("GP Storage Data (%u segments from offset 0x%04X):\n", f->gp_segments, f->gp_offset);
    for (unsigned at = f->gp_offset; rd_left(&r) > 0; at += SEGMENT_LEN) {
        printf("\t0x%04X (LEN=%d): ", at, SEGMENT_LEN);
        print_hex(rd_span(&r, SEGMENT_LEN));
        (void)putchar('\n');
    }
}

static void
print_objects_of(const struct facts *f, const char *title, unsigned type)
{
    printf("%s Objects: \n", title);
    for (size_t i = 0; i < f->object_count; i++) {
        const a71ch_object *o = &f->objects[i];

        if (o->type == type)
            printf("\t idx=0x%02X Absolute offset = 0x%04X Actual Size = 0x%04X (%u)\n", o->index,
                o->offset, o->len, o->len);
    }
}

static void
print_objects(const struct facts *f)
{
    print_objects_of(f, "Certificate", A71CH_CERTIFICATE);
    print_objects_of(f, "Data", A71CH_DATA);
}

/* print as JSON */

static const char *
json_scp(int state)
{
    if (state == SCP_MANDATORY)
        return "mandatory";
    return state == SCP_KEYS_SET ? "keysSet" : "notSetUp";
}

static void
json_device(FILE *to, const struct facts *f)
{
    const a71ch_module_info *m = &f->module;

    fprintf(to, "\"device\":{\"appletVersion\":\"0x%04X\",\"debug\":%s,\"scp03\":\"%s\",",
        m->applet_version, m->debug ? "true" : "false", json_scp(m->scp_state));
    if (m->restricted_pair >= 0)
        fprintf(to, "\"restrictedPair\":%d,", m->restricted_pair);
    else
        fprintf(to, "\"restrictedPair\":null,");
    fprintf(to, "\"transportLockState\":%d,\"injectLockState\":%d,\"gpStorageSize\":%u,",
        m->transport_lock, m->inject_lock, m->gp_size);
    json_hex(to, "uid", SPAN(f->uid));
    (void)fputc(',', to);
    json_hex(to, "certUid", SPAN(f->cert_uid));
    (void)fputc('}', to);
}

static void
json_slots(FILE *to, const char *name, const struct slot *slots, unsigned count)
{
    fprintf(to, "\"%s\":[", name);
    for (unsigned i = 0; i < count; i++) {
        fprintf(to, "%s{\"index\":%u,", i > 0 ? "," : "", i);
        if (slots[i].filled)
            json_hex(to, "publicKey", SPAN(slots[i].point));
        else
            fprintf(to, "\"publicKey\":null");
        (void)fputc('}', to);
    }
    (void)fputc(']', to);
}

static void
json_pairs(FILE *to, const struct facts *f)
{
    json_slots(to, "keyPairs", f->pairs, A71CH_PAIR_COUNT);
}

static void
json_pubs(FILE *to, const struct facts *f)
{
    json_slots(to, "publicKeys", f->pubs, A71CH_PUB_COUNT);
}

static void
json_counters(FILE *to, const struct facts *f)
{
    fprintf(to, "\"counters\":[%u,%u]", f->counters[0], f->counters[1]);
}

static void
json_storage(FILE *to, const struct facts *f)
{
    fprintf(to, "\"storage\":{\"offset\":%u,", f->gp_offset);
    json_hex(to, "data", span_of(f->gp, (size_t)f->gp_segments * SEGMENT_LEN));
    (void)fputc('}', to);
}

static const char *
json_type(unsigned type)
{
    if (type == A71CH_CERTIFICATE)
        return "certificate";
    return type == A71CH_DATA ? "data" : "other";
}

static void
json_objects(FILE *to, const struct facts *f)
{
    fprintf(to, "\"objects\":[");
    for (size_t i = 0; i < f->object_count; i++) {
        const a71ch_object *o = &f->objects[i];

        fprintf(to, "%s{\"type\":\"%s\",\"index\":%u,\"offset\":%u,\"size\":%u}", i > 0 ? "," : "",
            json_type(o->type), o->index, o->offset, o->len);
    }
    (void)fputc(']', to);
}

/* the sub-commands */

typedef void (*print_fn)(const struct facts *f);
typedef void (*json_fn)(FILE *to, const struct facts *f);

/* One JSON object of one member, or the text. */
static enum code
show(const struct tool *t, const struct facts *f, print_fn text, json_fn json)
{
    if (!t->json) {
        text(f);
        return CODE_OK;
    }
    (void)fputc('{', t->data);
    json(t->data, f);
    fprintf(t->data, "}\n");
    return CODE_OK;
}

static enum code
info_device(struct tool *t, struct args *a)
{
    struct facts f = { 0 };
    enum code code = gather_module(t, &f);

    (void)a;
    return code == CODE_OK ? show(t, &f, print_device, json_device) : code;
}

static enum code
info_pair(struct tool *t, struct args *a)
{
    struct facts f = { 0 };
    enum code code = gather_open_module(t, &f);

    (void)a;
    if (code == CODE_OK)
        code = gather_slots(t, a71ch_pair_get_public, f.pairs, A71CH_PAIR_COUNT);
    return code == CODE_OK ? show(t, &f, print_pairs, json_pairs) : code;
}

static enum code
info_pub(struct tool *t, struct args *a)
{
    struct facts f = { 0 };
    enum code code = gather_open_module(t, &f);

    (void)a;
    if (code == CODE_OK)
        code = gather_slots(t, a71ch_pub_get, f.pubs, A71CH_PUB_COUNT);
    return code == CODE_OK ? show(t, &f, print_pubs, json_pubs) : code;
}

static enum code
info_cnt(struct tool *t, struct args *a)
{
    struct facts f = { 0 };
    enum code code = gather_open_module(t, &f);

    (void)a;
    if (code == CODE_OK)
        code = gather_counters(t, &f);
    return code == CODE_OK ? show(t, &f, print_counters, json_counters) : code;
}

static enum code
info_objects(struct tool *t, struct args *a)
{
    struct facts f = { 0 };
    enum code code = gather_open_module(t, &f);

    (void)a;
    if (code == CODE_OK)
        code = gather_objects(t, &f);
    return code == CODE_OK ? show(t, &f, print_objects, json_objects) : code;
}

static enum code
info_gp(struct tool *t, struct args *a)
{
    struct facts f = { 0 };
    enum code code = opt_offset(a, &f.gp_offset);

    if (code == CODE_OK)
        code = opt_number(a, "-n", 1, SEGMENTS_MAX, &f.gp_segments);
    if (code != CODE_OK)
        return code;
    code = gather_open_module(t, &f);
    if (code == CODE_OK)
        code = gather_storage(t, &f);
    return code == CODE_OK ? show(t, &f, print_storage, json_storage) : code;
}

static void
print_all(const struct facts *f)
{
    print_device(f);
    print_pairs(f);
    print_pubs(f);
    print_counters(f);
    print_storage(f);
}

static void
json_all(FILE *to, const struct facts *f)
{
    const json_fn parts[] = { json_device, json_pairs, json_pubs, json_counters, json_storage };

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (i > 0)
            (void)fputc(',', to);
        parts[i](to, f);
    }
}

static enum code
info_all(struct tool *t, struct args *a)
{
    struct facts f = { 0 };
    enum code code = gather_open_module(t, &f);

    (void)a;
    f.gp_segments = f.module.gp_size / SEGMENT_LEN;
    if (f.gp_segments > SEGMENTS_MAX)
        f.gp_segments = SEGMENTS_MAX;
    if (code == CODE_OK)
        code = gather_slots(t, a71ch_pair_get_public, f.pairs, A71CH_PAIR_COUNT);
    if (code == CODE_OK)
        code = gather_slots(t, a71ch_pub_get, f.pubs, A71CH_PUB_COUNT);
    if (code == CODE_OK)
        code = gather_counters(t, &f);
    if (code == CODE_OK)
        code = gather_storage(t, &f);
    return code == CODE_OK ? show(t, &f, print_all, json_all) : code;
}

static enum code
info_sym(struct tool *t, struct args *a)
{
    (void)t;
    (void)a;
    printf("Not implemented.\n"); /* the vendor's own words, SPEC a71ch 8.3 */
    return CODE_NOT_IMPLEMENTED;
}

/* info status: the credential map, SPEC a71ch 1.7 */

struct map_class {
    const char *name;
    const char *json;
    unsigned product; /* how many there are */
    unsigned early;
};

static const struct map_class map_classes[] = {
    { "Key Pair", "keyPairs", 4, 2 },
    { "Public Key", "publicKeys", 3, 2 },
    { "Config Key", "configKeys", 3, 3 },
    { "Sym Secret", "symSecrets", 8, 4 },
    { "Counter", "counters", 2, 2 },
};

enum {
    MAP_CLASSES = sizeof map_classes / sizeof map_classes[0],
    MAP_LEN_PRODUCT = 149,
    MAP_LEN_EARLY = 46,
    INITIALIZED = 0x5, /* high nibble */
    FROZEN = 0xf,      /* low nibble */
    STATUS_COLUMNS = 4,
};

static bool
frozen(uint8_t state)
{
    return (state & 0xf) == FROZEN;
}

static void
print_map(struct rd r, bool early)
{
    uint8_t scp = rd_u8(&r);

    printf("SCP03 is %s\n", scp == SCP_MANDATORY ? "Mandatory" : "Not enabled");
    for (size_t c = 0; c < MAP_CLASSES; c++) {
        unsigned count = early ? map_classes[c].early : map_classes[c].product;

        printf("%s status:\n", map_classes[c].name);
        for (unsigned i = 0; i < count; i++) {
            uint8_t state = rd_u8(&r);

            printf("\tIndex=%u: %s %s\n", i, state >> 4 == INITIALIZED ? "Initialized" : "Empty",
                frozen(state) ? "Locked" : "Open");
        }
    }
    printf("General Purpose Storage status:\n");
    for (unsigned i = 0; rd_left(&r) > 0; i++) {
        printf("%sOffset=0x%04X: %s", i % STATUS_COLUMNS == 0 ? "\t" : "   ", i * SEGMENT_LEN,
            frozen(rd_u8(&r)) ? "Lock" : "Open");
        if (i % STATUS_COLUMNS == STATUS_COLUMNS - 1 || rd_left(&r) == 0)
            (void)putchar('\n');
    }
}

static void
json_map(FILE *to, struct rd r, bool early)
{
    uint8_t scp = rd_u8(&r);

    fprintf(to, "{\"scp03Mandatory\":%s", scp == SCP_MANDATORY ? "true" : "false");
    for (size_t c = 0; c < MAP_CLASSES; c++) {
        unsigned count = early ? map_classes[c].early : map_classes[c].product;

        fprintf(to, ",\"%s\":[", map_classes[c].json);
        for (unsigned i = 0; i < count; i++) {
            uint8_t state = rd_u8(&r);

            fprintf(to, "%s{\"initialized\":%s,\"locked\":%s}", i > 0 ? "," : "",
                state >> 4 == INITIALIZED ? "true" : "false", frozen(state) ? "true" : "false");
        }
        (void)fputc(']', to);
    }
    fprintf(to, ",\"storageSegmentsLocked\":[");
    for (unsigned i = 0; rd_left(&r) > 0; i++)
        fprintf(to, "%s%s", i > 0 ? "," : "", frozen(rd_u8(&r)) ? "true" : "false");
    fprintf(to, "]}\n");
}

static enum code
info_status(struct tool *t, struct args *a)
{
    uint8_t map[A71CH_MAP_MAX];
    size_t len;
    a71ch_result res = a71ch_get_credential_map(t->chip, map, &len);

    (void)a;
    if (res != A71CH_OK)
        return tool_chip_failed(t, res);
    if (len != MAP_LEN_PRODUCT && len != MAP_LEN_EARLY) {
        fprintf(stderr, "the chip's credential map has %zu bytes, neither %d nor %d\n", len,
            MAP_LEN_PRODUCT, MAP_LEN_EARLY);
        t->sw = HOST_WRONG_RESPONSE;
        return CODE_FAILED;
    }
    if (t->json)
        json_map(t->data, rd_of(span_of(map, len)), len == MAP_LEN_EARLY);
    else
        print_map(rd_of(span_of(map, len)), len == MAP_LEN_EARLY);
    return CODE_OK;
}

enum code
cmd_info(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "all", info_all },
        { "cnt", info_cnt },
        { "device", info_device },
        { "gp", info_gp },
        { "objects", info_objects },
        { "pair", info_pair },
        { "pub", info_pub },
        { "status", info_status },
        { "sym", info_sym },
        { NULL, NULL },
    };

    return tool_sub(t, a, "info", subs);
}
