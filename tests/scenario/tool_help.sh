#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# a71chConfig's help, completion and man page agree, and the man page's examples run as they stand there.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
page=$root/man/a71chConfig.1
completion=$BUILD/share/bash-completion/completions/a71chConfig

"$bin/a71chConfig" --help >help
sed -n 's/^  \([a-z][^ ]*\).*/\1/p' help | sort -u >commands
check "help lists the commands" test "$(wc -l <commands)" -gt 20

# completes LINE: what bash would offer, one a line
completes()
{
    PATH="$bin:$PATH" bash -c '. "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _a71chConfig; printf "%s\n" "${COMPREPLY[@]}"' bash "$completion" "$1" | sort -u
}

# each command's own help, which needs no chip
while read -r command; do
    "$bin/a71chConfig" 127.0.0.1:1 "$command" --help >one 2>&1 || echo "$command: $?"
    grep -q "^usage: a71chConfig" one || echo "$command: no usage"
    grep -qE "^  $command\b|a71chConfig $command\b" one || echo "$command: not its form"
    test "$(wc -l <one)" -lt 24 || echo "$command: all of the help"
done <commands >missing
check "--help behind a command tells of that command" test ! -s missing
check_output "and behind a sub-command" '^  set pair -x N' "$bin/a71chConfig" set pair --help
check_output "of openssl, too" '--psk-pair N' "$bin/a71chConfig" openssl setup --help

check "completion is installed and is bash" bash -n "$completion"
completes "a71chConfig 127.0.0.1:8050 " | grep -v '^--' >offered
check "behind the address every command is offered" diff commands offered
completes "a71chConfig --dry-run unix:/x --json " | grep -v '^--' >offered
check "and behind options" diff commands offered
check "commands complete from their first letters" test "$(completes "a71chConfig h:1 wc")" = wcrt
: >missing
while read -r command rest; do
    sub=
    case $rest in [a-z]*)
        for sub in $(echo "${rest%% *}" | tr '|' ' '); do
            completes "a71chConfig h:1 $command " | grep -qxe "$sub" || echo "$command $sub" >>missing
        done ;;
    esac
    for option in $(echo "$rest" | grep -oE -- '-[a-z]+ '); do
        completes "a71chConfig h:1 $command${sub:+ $sub} -" | grep -qxe "$option" || echo "$command $sub $option" >>missing
    done
done <<EOF
$(sed -n '/^  [a-z]/p' help)
EOF
check "every sub-command and option is offered" test ! -s missing
: >here.pem
check "a FILE completes to files" test "$(completes "a71chConfig h:1 set pair -x 0 -k he" | tr '\n' ' ')" = "help here.pem "
check "a class to its values" test "$(completes "a71chConfig h:1 get pub -c " | tr '\n' ' ')" = "10 20 "
check "options of the other forms of a command are not offered" test "$(completes "a71chConfig h:1 set cnt -" | tr '\n' ' ')" = "-h -x "

# the man page names each command, option and exit code
for command in $(cat commands); do
    grep -qE "^\.(TP|B|BI|BR|TQ).*[\" ]$command\b" "$page" || echo "$command"
done >missing
check "the man page has every command" test ! -s missing
tab=$(printf '\t')
for code in $(grep -oE 'CODE_[A-Z_]+ = [0-9]+' "$root/src/config/tool.h" | grep -oE '[0-9]+$'); do
    grep -qE "^$code$tab" "$page" || echo "$code"
done >missing
check "and every exit code" test ! -s missing

# its examples, as they are, on a chip of their own
sed -n '/^\.SH EXAMPLES/,/^\.SH SEE/{/^\.RS/,/^\.RE/p}' "$page" | grep -v '^\.R[SE]' | sed 's/\\-/-/g; s/\\e/\\/g' >examples
check "there are examples" test "$(grep -c a71chConfig examples)" -gt 15
start chip "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0 --listen "i2c-unix:$work/bus"
wait_line chip '^ready$' >/dev/null || done_testing
chip=$(wait_line chip '^listening tcp:' | sed 's/^listening tcp://')
check "the first starts a chip" grep -qx 'a71chd --sim chip --listen tcp:127.0.0.1:8050 &' examples
{ echo "set -eu"; grep -v '^a71chd ' examples | sed "s/127\.0\.0\.1:8050/$chip/g"; } >run.sh
check "they run" env PATH="$bin:$PATH" LD_PRELOAD="${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so" A71CH_I2C_BUS="1:$work/bus" \
    ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" sh run.sh
cp out said
check "the certificate that was issued is the one in the chip" sh -c "openssl x509 -in meter.crt -outform DER | cmp - meter.der"
check "its subject has the chip's id" sh -c "openssl x509 -in meter.crt -noout -subject | grep -qE 'CN = meter [0-9a-f]{36}'"
check "the object is the one that the page says" test "$(cat object.txt)" = 001122FFFF
check "the probe ends well" sh -c "tail -n 1 said | grep -q '^ok  *time '"
done_testing
