/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `refpem -c 10|20 -x N [-k FILE] -r FILE`: write a reference key, which names a slot where a
 * private key would stand. Its public key is the chip's own, or that of the file given. SPEC
 * a71ch 9.1.
 */
#include "config/pem.h"

#include <stdio.h>
#include <string.h>

static enum code
point_from_chip(struct tool *t, unsigned class_id, unsigned index, uint8_t out[A71CH_POINT_LEN])
{
    a71ch_result res = A71CH_ERR_ARG;
    uint16_t status = HOST_PARAMETER;
    enum code code = tool_need_chip(t);

    if (code != CODE_OK)
        return code;
    if (class_id == CLASS_PAIR)
        res = a71ch_pair_get_public(t->chip, index, out);
    if (class_id == CLASS_PUB)
        res = a71ch_pub_get(t->chip, index, out);
    if (res == A71CH_OK)
        return CODE_OK;
    if (class_id == CLASS_PAIR || class_id == CLASS_PUB) {
        status = tool_host_code(t->chip, res);
        fprintf(stderr, "%s\n", a71ch_message(t->chip));
    } else {
        fprintf(
            stderr, "-c %02x is not a class of keys; 10 is key pairs, 20 public keys\n", class_id);
    }
    printf("Reading the public key failed with status 0x%04X\n", status);
    printf("Writing the reference key failed with status 0x%04X\n", status);
    return CODE_PEM_WRITE; /* as the vendor's tool answers, SPEC a71ch 8.2 */
}

static enum code
point_from_file(const char *path, uint8_t out[A71CH_POINT_LEN])
{
    struct key key;
    enum code code = pem_read(path, &key);

    if (code == CODE_OK)
        memcpy(out, key.point, A71CH_POINT_LEN);
    bm_wipe(&key, sizeof key);
    return code;
}

enum code
cmd_refpem(struct tool *t, struct args *a)
{
    struct refkey ref = { .has_point = true };
    unsigned class_id;
    unsigned index;
    const char *key_path = NULL;
    const char *ref_path;
    enum code code = opt_class(a, &class_id);

    if (code == CODE_OK)
        code = opt_index(a, &index);
    if (code == CODE_OK && opt_ahead(a, "-k"))
        code = opt_text(a, "-k", &key_path);
    if (code == CODE_OK)
        code = opt_text(a, "-r", &ref_path);
    if (code != CODE_OK)
        return code;
    if (key_path == NULL)
        code = point_from_chip(t, class_id, index, ref.point);
    else
        code = point_from_file(key_path, ref.point);
    if (code != CODE_OK)
        return code;
    if (class_id != CLASS_PAIR && class_id != CLASS_PUB) {
        fprintf(
            stderr, "-c %02x is not a class of keys; 10 is key pairs, 20 public keys\n", class_id);
        return CODE_PEM_WRITE;
    }
    ref.class_id = (uint8_t)class_id;
    ref.index = (uint8_t)index;
    return pem_write_reference(ref_path, &ref);
}
