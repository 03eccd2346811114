/* SPDX-License-Identifier: Apache-2.0 */
/* `get pub -c 10|20 -x N -k FILE`: a public key of the chip as PEM. */
#include "config/pem.h"

#include <stdio.h>

static void
print_json(FILE *to, unsigned class_id, unsigned index, const uint8_t point[A71CH_POINT_LEN])
{
    char hex[2 * A71CH_POINT_LEN + 1];

    hex_encode(hex, point, A71CH_POINT_LEN);
    fprintf(to, "{\"class\":\"%02x\",\"index\":%u,\"publicKey\":\"%s\"}\n", class_id, index, hex);
}

static enum code
get_pub(struct tool *t, struct args *a)
{
    uint8_t point[A71CH_POINT_LEN];
    unsigned class_id;
    unsigned index;
    const char *path;
    a71ch_result res;
    enum code code = opt_class(a, &class_id);

    if (code == CODE_OK)
        code = opt_index(a, &index);
    if (code == CODE_OK)
        code = opt_text(a, "-k", &path);
    if (code != CODE_OK)
        return code;
    if (class_id != CLASS_PAIR && class_id != CLASS_PUB) {
        fprintf(
            stderr, "-c %02x is not a class of keys; 10 is key pairs, 20 public keys\n", class_id);
        return CODE_ARG_RANGE;
    }
    res = class_id == CLASS_PAIR ? a71ch_pair_get_public(t->chip, index, point)
                                 : a71ch_pub_get(t->chip, index, point);
    if (res != A71CH_OK)
        return tool_chip_failed(t, res);
    code = pem_write_public(path, point);
    if (code == CODE_OK && t->json)
        print_json(t->data, class_id, index, point);
    return code;
}

enum code
cmd_get(struct tool *t, struct args *a)
{
    static const struct sub subs[] = { { "pub", get_pub }, { NULL, NULL } };

    return tool_sub(t, a, "get", subs);
}
