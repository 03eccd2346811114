/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stand-in for libFuzzer's main: run the target once for each file given, and for each prefix of a
 * short one, so that a corpus is a regression test in every build.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20, PREFIX_MAX = 512 };

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        uint8_t *data = malloc(INPUT_MAX);
        size_t len;

        if (f == NULL || data == NULL) {
            perror(argv[i]);
            return 1;
        }
        len = fread(data, 1, INPUT_MAX, f);
        (void)fclose(f);
        for (size_t cut = 0; cut <= len; cut = cut < len && len > PREFIX_MAX ? len : cut + 1) {
            /* a block of its exact size, so that a sanitizer sees the first byte beyond it */
            uint8_t *exact = malloc(cut != 0 ? cut : 1);

            if (exact == NULL)
                return 1;
            memcpy(exact, data, cut);
            (void)LLVMFuzzerTestOneInput(exact, cut);
            free(exact);
        }
        free(data);
    }
    printf("replayed %d files\n", argc - 1);
    return 0;
}
