#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# liba71ch as an installed library: the header alone in C99 and C++11, shared and static, found by pkg-config, every
# declared call there and nothing else.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
header=$BUILD/include/a71ch.h
export PKG_CONFIG_PATH="$lib/pkgconfig"
strict="-Wall -Wextra -Wpedantic -Wconversion -Werror"

printf '#include <a71ch.h>\nint main(void) { return a71ch_version()[0] == 0; }\n' >alone.c
cp alone.c alone.cc
cflags=$(pkg-config --cflags a71ch)
libs=$(pkg-config --libs a71ch)
crypto=$(pkg-config --libs libcrypto)
for cc in gcc clang; do
    for std in c99 c11 c17; do
        check "the header compiles with $cc as strict $std" $cc -std=$std $strict $cflags -c alone.c -o alone.o
    done
    for std in c++11 c++17; do
        check "the header compiles with $cc as strict $std" "$(echo $cc | sed 's/gcc/g++/; s/clang/clang++/')" -std=$std $strict $cflags -c alone.cc -o alone.o
    done
done

grep -oE '\ba71ch_[a-z0-9_]+\(' "$header" | tr -d '(' | sort -u >mentioned
nm -D "$lib/liba71ch.so" >shared.all
nm -D --defined-only "$lib/liba71ch.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort >shared
nm -g --defined-only "$lib/liba71ch.a" | awk '$2 == "T" { print $3 }' | sort >static
check "there are calls" test "$(wc -l <shared)" -gt 60
check "the shared library exports what the header declares" diff mentioned shared
check "so does the static one" diff shared static
check "no other symbol leaves the shared library" sh -c "! nm -D --defined-only '$lib/liba71ch.so' | grep -v ' a71ch_\| A71CH_0'"
check "nor the static one" sh -c "! nm -g --defined-only '$lib/liba71ch.a' | grep ' [A-Z] ' | grep -v ' a71ch_'"

# names that the user may have, too, do no harm
cat >use.c <<'C'
#include <a71ch.h>
#include <stdio.h>
#include <string.h>
int span_of = 1; /* names of ours inside the library */
int link_open = 2;
int
main(int argc, char **argv)
{
    a71ch *chip = NULL;
    uint8_t hash[A71CH_HASH_LEN], sig[A71CH_SIGNATURE_MAX], pub[A71CH_POINT_LEN];
    size_t len = sizeof sig;
    uint32_t count = 0;
    int valid = 0;
    if (a71ch_open(argc > 1 ? argv[1] : NULL, NULL, &chip) != A71CH_OK ||
        a71ch_sha256(chip, (const uint8_t *)"abc", 3, hash) != A71CH_OK ||
        a71ch_pair_generate(chip, 0) != A71CH_OK || a71ch_pair_get_public(chip, 0, pub) != A71CH_OK ||
        a71ch_pair_sign(chip, 0, hash, sig, &len) != A71CH_OK ||
        a71ch_verify_with_key(chip, pub, hash, sig, len, &valid) != A71CH_OK ||
        a71ch_counter_increment(chip, 1) != A71CH_OK || a71ch_counter_get(chip, 1, &count) != A71CH_OK) {
        fprintf(stderr, "%s\n", a71ch_message(chip));
        return 1;
    }
    printf("hash %02x%02x valid %d count %u\n", hash[0], hash[1], valid, (unsigned)count);
    a71ch_close(chip);
    return span_of + link_open - 3;
}
C
start_chip chip
sanitizer=$(grep -q __asan shared.all && echo -fsanitize=address,undefined)
check "a program links with what pkg-config says" gcc -std=c99 $strict use.c $sanitizer -o use $cflags $libs
check_output "and uses the chip" '^hash ba78 valid 1 count 1$' env LD_LIBRARY_PATH="$lib" ./use "$A71CH_ADDRESS"
check "it links statically" gcc -std=c99 $strict use.c $sanitizer -o use.static $cflags "$lib/liba71ch.a" $crypto
check_output "and uses the chip" '^hash ba78 valid 1 count 2$' ./use.static "$A71CH_ADDRESS"
check "the static program needs no liba71ch.so" sh -c "! ldd use.static | grep -q a71ch"
done_testing
