#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# a71chConfig: objects, certificates, keys, locks and connection to the byte and the exit code (SPEC a71ch 8), and what
# is ours: --json, --dry-run, --yes, csr, probe. config.sh has the rest; tool_links.sh runs it all over each link.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
tab=$(printf '\t')

# run WANTED_CODE WORDS...: stdout without the start-up lines to $work/got, stderr to $work/err
run()
{
    wanted=$1
    shift
    "$bin/a71chConfig" "$chip" "$@" >all 2>err </dev/null
    code=$?
    if grep -q '^Applet-Rev:SecureBox-Rev ' all; then
        sed '1,/^Applet-Rev:SecureBox-Rev /d' all
    else
        sed '/^a71chConfig (Rev 1.20)/d' all
    fi >got
    [ "$code" = "$wanted" ] || {
        echo "exit code $code, wanted $wanted: $(cat err)" >>got
        return 1
    }
}

# prints CLAIM CODE WORDS... <expected: exact stdout of the command
prints()
{
    claim=$1 code_wanted=$2
    shift 2
    cat >want
    run "$code_wanted" "$@"
    if cmp -s want got; then ok "$claim"; else
        diff want got >differs
        not_ok "$claim" differs
    fi
}

# fails CLAIM CODE "failure text" "what stderr says, or nothing" WORDS...
fails()
{
    claim=$1 code_wanted=$2 text=$3 said=$4
    shift 4
    if run "$code_wanted" "$@" && [ "$(tail -n 1 got)" = "Command Failed ($text)" ] &&
        { [ -z "$said" ] || grep -qF -- "$said" err; }; then
        ok "$claim"
    else
        cat err >>all
        not_ok "$claim" all
    fi
}

json() # WORDS...: sets $out
{
    "$bin/a71chConfig" --json "$chip" "$@" >json.out 2>json.err && /usr/bin/python3 -m json.tool <json.out >/dev/null
}

hex()
{
    od -An -v -tx1 | tr -d ' \n'
}

HEX()
{
    hex | tr a-f A-F
}

start_chip chip
chip=${A71CH_ADDRESS#tcp:}
unset A71CH_ADDRESS
openssl ecparam -name prime256v1 -genkey -noout -out key.pem 2>/dev/null
openssl req -new -x509 -key key.pem -days 30 -subj "/CN=one" -out one.pem
openssl x509 -in one.pem -outform DER -out one.der
size=$(wc -c <one.der)

# the table in storage is the vendor's: the check values of SPEC 8.8
head -c 365 /dev/urandom | { printf '\060\202\001\155'; cat; } >cert369
prints "obj write succeeds in silence" 0 obj write -x 3 -h 0011223344 </dev/null
prints "wcrt of hex succeeds in silence" 0 wcrt -x 2 -h "$(hex <cert369)" -n 1 </dev/null
prints "the last segment has the vendor's bytes" 0 info gp -h 0FE0 -n 1 <<EOF
GP Storage Data (1 segments from offset 0x0FE0):
${tab}0x0FE0 (LEN=32): FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF090201A000200A03000500000202
EOF
prints "info objects" 0 info objects <<EOF
Certificate Objects: 
${tab} idx=0x02 Absolute offset = 0x0020 Actual Size = 0x01A0 (416)
Data Objects: 
${tab} idx=0x03 Absolute offset = 0x0000 Actual Size = 0x0005 (5)
EOF
prints "rcrt trims to the certificate" 0 rcrt -x 2 <<EOF
CER_DATA (LEN=369):
$(HEX <cert369 | fold -w 64)
EOF
prints "ecrt succeeds in silence" 0 ecrt -x 2 </dev/null
prints "obj erase succeeds in silence" 0 obj erase -x 3 </dev/null

# certificates
prints "wcrt of a PEM file" 0 wcrt -x 0 -p one.pem <<EOF
Filename: one.pem
Certificate Size (DER format) = $size byte
EOF
prints "wcrt of a DER file" 0 wcrt -x 1 -c one.der -n 3 <<EOF
Filename: one.der
Certificate Size (DER format) = $size byte
EOF
segments=$(((size + 31) / 32 * 32))
run 0 info objects
check "padding: whole segments, and as many more as -n says" diff - got <<EOF
Certificate Objects: 
${tab} idx=0x00 Absolute offset = 0x0000 Actual Size = $(printf '0x%04X (%d)' $segments $segments)
${tab} idx=0x01 Absolute offset = $(printf 0x%04X $segments) Actual Size = $(printf '0x%04X (%d)' $((segments + 96)) $((segments + 96)))
Data Objects: 
EOF
prints "rcrt to a file prints it, too" 0 rcrt -x 1 -c out.der <<EOF
CER_DATA (LEN=$size):
$(HEX <one.der | fold -w 64)
EOF
check "and writes DER" cmp out.der one.der
fails "rcrt with a word too much" 33 "arg count mistake (33)" "" rcrt -x 0 -c out.der extra
fails "rcrt without options" 33 "arg count mistake (33)" "" rcrt
fails "rcrt where no file can be" 39 "write certificate file error (39)" "none/x" rcrt -x 0 -c none/x
fails "rcrt of none" 38 "object at index not found error (38)" "" rcrt -x 7
fails "ecrt of none" 38 "object at index not found error (38)" "" ecrt -x 7
fails "ucrt of none" 38 "object at index not found error (38)" "" ucrt -x 7 -c one.der
fails "wcrt on a used index" 1 "exec failed (1): sw=0x7060" "" wcrt -x 0 -c one.der
fails "wcrt of a file that is missing" 23 "file open failed (23)" "none.der" wcrt -x 3 -c none.der
fails "wcrt -c of PEM" 24 "pemfile read failed (24)" "PEM is for -p" wcrt -x 3 -c one.pem
fails "wcrt -p of DER" 24 "pemfile read failed (24)" "DER is for -c" wcrt -x 3 -p one.der
fails "wcrt with too many segments" 30 "arg range error (30)" "" wcrt -x 3 -c one.der -n 128
fails "wcrt that has no room" 1 "exec failed (1): sw=0x7020" "" wcrt -x 3 -c one.der -n 120
head -c 4000 /dev/zero | tr '\0' '\060' >big
fails "ucrt of what does not fit" 1 "exec failed (1): sw=0x7020" "" ucrt -x 0 -h "$(hex <big)"
fails "index above 255" 30 "arg range error (30)" "" wcrt -x 256 -c one.der
run 0 ecrt -x 0
run 0 ecrt -x 1

# data objects
printf '%064d\n%04d' 0 7 >data32
prints "obj write of a file names it" 0 obj write -x 1 -f data32 <<EOF
Filename: data32
EOF
prints "obj get prints all of it" 0 obj get -x 1 <<EOF
OBJ_DATA (LEN=34):
$(printf '%064d' 0)
0007
EOF
run 0 obj get -x 1 -f back32
check "obj get -f writes what obj write -f read" cmp back32 data32
run 0 obj get -x 1 -f back16 -t hex_16
printf '%032d\n%032d\n0007' 0 0 >data16
check "-t hex_16 makes lines of 16 bytes" cmp back16 data16
prints "obj get of a part" 0 obj get -x 1 -h 0020 -s 0002 <<EOF
OBJ_DATA (LEN=2):
0007
EOF
prints "obj write of segments" 0 obj write -x 9 -n 1 </dev/null
prints "are zeros" 0 obj get -x 9 <<EOF
OBJ_DATA (LEN=32):
$(printf '%064d' 0)
EOF
prints "obj update succeeds in silence" 0 obj update -x 9 -h 001e -h aabb </dev/null
prints "and changes those bytes" 0 obj get -x 9 -h 001c -s 0004 <<EOF
OBJ_DATA (LEN=4):
0000AABB
EOF
fails "obj write of a file of another form" 29 "file format error (29)" "line 1 has 64 characters" obj write -x 2 -f data32 -t hex_16
fails "an unknown form" 34 "arg value error (34)" "hex_16 and hex_32" obj write -x 2 -f data32 -t hex
fails "a file that is missing" 23 "file open failed (23)" "none" obj write -x 2 -f none
fails "obj write without data" 33 "arg count mistake (33)" "" obj write -x 2
fails "obj get of none" 38 "object at index not found error (38)" "" obj get -x 2
fails "obj get where no file can be" 1 "exec failed (1): sw=0x0000" "none/x" obj get -x 1 -f none/x
fails "obj without sub-command" 33 "arg count mistake (33)" "" obj
fails "obj of another" 21 "check usage (21)" "" obj read -x 1
run 0 set gp -h 0ffe -h 0505
fails "a table that is none" 37 "enumeration no object found error (37)" "no table of objects" obj get -x 1
fails "info objects of it" 37 "enumeration no object found error (37)" "no table of objects" info objects
run 0 debug reset

# a certificate without table, the old way
prints "set gp -c" 0 set gp -h 0020 -c one.pem <<EOF
Filename: one.pem
Certificate Size (DER format) = $size byte
EOF
run 0 info gp -h 0020 -n 1
check "is DER at the offset" grep -q "$(HEX <one.der | cut -c 1-64)" got

# counters and keys
prints "set cnt" 0 set cnt -x 1 -h 00000005 </dev/null
fails "a counter does not fall" 1 "exec failed (1): sw=0x6A80" "" set cnt -x 1 -h 00000004
fails "a counter has four bytes" 34 "arg value error (34)" "" set cnt -x 1 -h 05
prints "erase cnt" 0 erase cnt -x 1 </dev/null
k=00112233445566778899aabbccddeeff
prints "set sym" 0 set sym -x 0 -h $k </dev/null
fails "a symmetric key has 16 or 24 bytes" 1 "exec failed (1): sw=0x8050" "not 20" set sym -x 0 -h ${k}00112233
fails "a configuration key, too" 34 "arg value error (34)" "" set cfg -x 0 -h 00
fails "there is no such slot" 1 "exec failed (1): sw=0x7023" "0 to 7" set sym -x 8 -h $k
run 0 set cfg -x 1 -h $k
run 0 get pub -c 10 -x 0 -k before.pem
for bad in "-w" "-w 0011" "-w ${k}0" "-w x${k#0}" "-W $k" "-wrap $k" "-w $k$k" "more -w $k" "-w $k -w"; do
    # shellcheck disable=SC2086
    run none set pair -x 0 -k key.pem $bad
    check "never sent unwrapped: set pair $bad" sh -c "grep -q '^Command Failed' got"
    # shellcheck disable=SC2086
    run none set sym -x 5 -h $k $bad
    check "never sent unwrapped: set sym $bad" sh -c "grep -q '^Command Failed' got"
done
fails "no pair was set by any of them" 1 "exec failed (1): sw=0x6985" "" get pub -c 10 -x 0 -k p.pem
run 0 info status
check "nor a symmetric key" sh -c "grep -A 9 '^Sym' got | grep -q 'Index=5: Empty'"
fails "a wrapped key is not wrapped again" 36 "wrap error (36)" "not wrapped yet" set sym -x 0 -h ${k}0011223344556677 -w $k
fails "a longer wrapping key is refused" 36 "wrap error (36)" "one of 16" set sym -x 0 -h $k -w $k$k
fails "a wrong wrapping key is refused by the chip" 1 "exec failed (1): sw=0x6A80" "" set sym -x 0 -h $k -w ffffffffffffffffffffffffffffffff

# locks
run 0 gen pair -x 1
prints "lock pair succeeds in silence" 0 lock pair -x 1 </dev/null
check "and says on stderr what is lost" grep -q "This is for good: key pair 1 can never be set, generated or erased again" err
check "and that this is an evaluation chip" grep -q "debug mode is on: 'debug reset' undoes it" err
fails "a locked pair stays" 1 "exec failed (1): sw=0x6986" "frozen" gen pair -x 1
prints "lock gp succeeds in silence" 0 lock gp -h 0100 -n 2 </dev/null
fails "locked storage stays" 1 "exec failed (1): sw=0x6986" "" set gp -h 013F -h 00
fails "storage is locked in segments" 1 "exec failed (1): sw=0x7023" "multiples of 32" lock gp -h 0101 -n 1
fails "lock without anything" 33 "arg count mistake (33)" "" lock
fails "lock of another" 21 "check usage (21)" "" lock sym -x 0
run 21 transport foo
check "transport quotes the unknown word" grep -qx "'foo' is an unknown command option\." got
fails "transport lock without configuration key 0" 1 "exec failed (1): sw=0x6985" "" transport lock

# connection
prints "nc runs what needs no chip" 0 nc refpem -c 20 -x 1 -k key.pem -r nc.ref </dev/null
check "and says that it does not connect" grep -qx 'a71chConfig (Rev 1.20) .. NOT connecting to A71CH\.' all
check "nc needs no address either" sh -c "'$bin/a71chConfig' nc help | grep -q '^usage: '"
check "nor one that answers" sh -c "'$bin/a71chConfig' 127.0.0.1:1 nc help | grep -q '^usage: '"
fails "what needs a chip is refused" 1 "exec failed (1): sw=0x7015" "'connect open' makes one" nc info device
fails "refpem from the chip, too" 1 "exec failed (1): sw=0x7015" "" nc refpem -c 10 -x 1 -r nc.ref
fails "nc alone" 21 "check usage (21)" "" nc
printf 'info cnt\nconnect close\nconnect open\ninfo cnt\nconnect open\ninfo cnt\nconnect close\nconnect close\n' >script
check "a script closes and opens" run 0 script -f script
check "and goes on" test "$(grep -c 'idx=0x00' got)" = 3
printf 'connect close\ninfo cnt\n' >script
fails "without connection there is no chip" 1 "exec failed (1): sw=0x7015" "" script -f script
printf 'connect open\n' >script
check_output "a link that can not be opened" 'sw=0x7001' sh -c "'$bin/a71chConfig' 127.0.0.1:1 nc script -f script; [ \$? = 1 ]"
fails "connect without word" 33 "arg count mistake (33)" "" connect

# interactive
interactive() # TEXT: to $work/got
{
    printf "$1" | "$bin/a71chConfig" "$chip" interactive >all 2>err
    code=$?
    sed '1,/^Applet-Rev:SecureBox-Rev /d' all >got
}
interactive 'info cnt\nset cnt -x 0 -h 00\n\nxyz\n# comment\ninfo cnt\nquit\n'
check "interactive ends with 0 after quit" test "$code" = 0
check "and goes on after failures" test "$(grep -c 'Monotonic' got)" = 2
check "it prompts" test "$(grep -o '>>> ' got | wc -l)" = 7
check "an empty line is a failure" grep -q '(33)' got
check "usage comes under its name" grep -q '^usage: interactive COMMAND' got
interactive 'set cnt -x 0 -h 00\n'
check "at the end of input it ends with the last code" test "$code" = 34
interactive 'interactive\n'
check "it does not start itself" test "$code" = 28

# a person at the keyboard: in a shell with job control
person() # WORDS...: to $work/said
{
    /usr/bin/python3 "$root/tests/scenario/terminal.py" "$@" >said 2>&1
}
person "$bin/a71chConfig" "$chip" lock pub -x 2
check "a person is asked for --yes" test $? = 28
check "and told what is lost, and how to go on" sh -c "grep -q 'public key 2 can never be set' said && grep -q 'Nothing was sent.*--yes' said"
person "$bin/a71chConfig" "$chip" debug permanently_disable_debug
check "for debug mode, too" test $? = 28
check "which no reset brings back" sh -c "grep -q 'becomes final' said && ! grep -q 'undoes it' said"
for line in 'lock inject_plain' 'lock gp -h 0000 -n 1' 'transport lock' "transport unlock -h $k"; do
    # shellcheck disable=SC2086
    person "$bin/a71chConfig" "$chip" $line
    check "and for $line" test $? = 28
done
run 0 info device
check "nothing was done" sh -c "grep -q '^injectLockState:    0x02' got && grep -q '^transportLockState: 0x03' got && grep -q Debug got"
person --type 'lock pub -x 2\n--yes lock gp -h 0000 -n 1\nquit\n' "$bin/a71chConfig" "$chip" interactive
check "a line of interactive mode wants it, too" sh -c "grep -q 'Nothing was sent.*--yes before the command\.' said"
fails "and takes it" 1 "exec failed (1): sw=0x6986" "" set gp -h 0000 -h 00
person "$bin/a71chConfig" "$chip" gen pair -x 3
check "other commands ask nothing" test $? = 0
person --script "$bin/a71chConfig" "$chip" lock pair -x 3
check "a script that a person starts is served as the vendor does" test $? = 0
printf 'lock pair -x 2\n' >script
run 0 gen pair -x 2
person "$bin/a71chConfig" "$chip" script -f script
check "so is script -f" test $? = 0
run 0 debug reset
run 0 gen pair -x 0
person "$bin/a71chConfig" --yes "$chip" lock pair -x 0
check "--yes before the command is enough" test $? = 0
fails "it did it" 1 "exec failed (1): sw=0x6986" "" gen pair -x 0
run 0 debug reset

# --dry-run
prints "--dry-run shows what would change the chip" 0 --dry-run gen pair -x 1 <<EOF
not sent: 8012010000
EOF
prints "and sends what only reads" 0 --dry-run info cnt <<EOF
sent: 8091000300
sent: 8091000100
sent: 8061000000
sent: 8061010000
Monotonic counter values:
${tab}idx=0x00 0x00000000
${tab}idx=0x01 0x00000000
EOF
prints "a key in the clear is not shown" 0 --dry-run set sym -x 0 -h $k <<EOF
not sent: 8042000110********************************00
EOF
run 0 --dry-run set pair -x 0 -k key.pem
check "nor a private key" sh -c "grep -q '^not sent: 8012000061\*\*\*\*.*\*\*04[0-9A-F]*00$' got"
run 0 --dry-run wcrt -x 0 -c one.der
check "a certificate is shown with its table" test "$(grep -c '^not sent: 8072' got)" -ge 3
prints "and nothing of it is there" 0 info objects <<EOF
Certificate Objects: 
Data Objects: 
EOF
fails "a pair neither" 1 "exec failed (1): sw=0x6985" "" get pub -c 10 -x 1 -k p.pem
prints "no question for --yes" 0 --dry-run lock inject_plain <<EOF
not sent: 8092000100
EOF
printf 'ENC %s\nMAC %s\nDEK %s\n' $k $k $k >keys
run 0 --dry-run scp put -h 01 -k keys
check "SCP03 keys are not shown" grep -qxF "not sent: 80D8008146$(printf '%0140d' 0 | tr 0 '*')00" got
fails "a channel is not tried" 28 "exec halted (28)" "--dry-run ends here" --dry-run scp auth -h 01 -k keys
check "--dry-run goes before the address, too" sh -c "'$bin/a71chConfig' --dry-run $chip debug reset | grep -qx 'not sent: 809400EA00'"

# --json of everything that prints data
run 0 obj write -x 4 -h 00ff
run 0 wcrt -x 1 -c one.der
check "--json info objects" json info objects
check "names type, place and size" grep -qx '{"objects":\[{"type":"data","index":4,"offset":0,"size":2},{"type":"certificate","index":1,"offset":32,"size":[0-9]*}\]}' json.out
check "--json obj get" json obj get -x 4
check "gives the data" grep -qx '{"index":4,"offset":0,"data":"00ff"}' json.out
check "--json rcrt" json rcrt -x 1
check "gives DER" grep -qx "{\"index\":1,\"certificate\":\"$(hex <one.der)\"}" json.out
"$bin/a71chConfig" --json "$chip" obj get -x 5 >json.out 2>err
check "no data, no JSON" test $? = 38 -a ! -s json.out
check_fails 21 "--json lock is refused" "$bin/a71chConfig" --json "$chip" lock pair -x 0

# csr
run 0 gen pair -x 2
run 0 apdu -cmd 8091000100 -sw 9000
uid=$(tail -n 1 got | cut -c 1-36 | tr A-F a-f)
prints "csr succeeds in silence" 0 csr -x 2 -s '/C=NL/O=Acme\/Labs/CN=dev-{certUid}+serialNumber={uid}' -f dev.csr </dev/null
check "openssl verifies the request" openssl req -in dev.csr -verify -noout
check_output "the subject is as given" "CN = dev-$(echo "$uid" | cut -c 5-8)$(echo "$uid" | cut -c 17-32) . serialNumber = $uid" openssl req -in dev.csr -noout -subject
run 0 get pub -c 10 -x 2 -k dev.pub
openssl req -in dev.csr -noout -pubkey >csr.pub
check "the key is the chip's" cmp csr.pub dev.pub
check "a CA issues from it" openssl x509 -req -in dev.csr -CA one.pem -CAkey key.pem -CAcreateserial -out dev.crt -days 1
check "and the certificate verifies" openssl verify -partial_chain -CAfile one.pem dev.crt
prints "which goes into the chip" 0 wcrt -x 2 -p dev.crt <<EOF
Filename: dev.crt
Certificate Size (DER format) = $(openssl x509 -in dev.crt -outform DER | wc -c) byte
EOF
OPENSSL_CONF="$BUILD/openssl-a71ch.cnf" "$bin/a71chConfig" "$chip" csr -x 2 -s /CN=x -f conf.csr >said 2>&1
check "the user's OpenSSL configuration does not matter" openssl req -in conf.csr -verify -noout
fails "csr of an empty slot" 1 "exec failed (1): sw=0x6985" "" csr -x 3 -s /CN=x -f no.csr
fails "csr with a bad subject" 34 "arg value error (34)" "write it as /C=NL" csr -x 2 -s CN=x -f no.csr
fails "csr where no file can be" 25 "pemfile write failed (25)" "" csr -x 2 -s /CN=x -f none/no.csr
check "a failed csr leaves no file" test ! -e no.csr
point=$(openssl ec -in key.pem -pubout -outform DER 2>/dev/null | tail -c 65 | hex)
run 0 set pair -x 3 -h "$point" -h "${k}$k"
fails "csr of two halves that do not belong together" 1 "exec failed (1): sw=0x7022" "do not belong together" csr -x 3 -s /CN=x -f no.csr

# probe
check_output "probe tells each step" '^ok +uid +' "$bin/a71chConfig" "$chip" probe
cp out said
check "from connect to time" sh -c "awk '{ print \$2 }' said | tr '\n' ' ' | grep -qx 'connect atr applet uid time '"
check "it reads the ATR" grep -qE '^ok +atr +A710xCH242R1, SCI2C 1\.1' said
json probe
check "--json probe" grep -q '^{"steps":\[{"step":"connect","ok":true,"detail":"tcp:127.0.0.1:' json.out
check_fails 12 "probe of nobody" "$bin/a71chConfig" 127.0.0.1:1 probe
cp out said
check "says who is not there" grep -qE '^FAILED +connect +nobody listens at 127.0.0.1:1' said
check_fails 12 "probe of a bus that is none" "$bin/a71chConfig" i2c:/dev/i2c-93 probe
cp out said
check "says what to do" grep -qE '^FAILED +device +/dev/i2c-93: .*modprobe i2c-dev' said
check_fails 12 "probe of a device that is no bus" "$bin/a71chConfig" i2c:/dev/null probe
cp out said
check "says so" grep -qE '^FAILED +adapter +/dev/null does not answer I2C_FUNCS' said
check_fails 12 "probe of a bad address" "$bin/a71chConfig" nowhere probe
cp out said
check "names the cure" grep -qE '^FAILED +address +.*write HOST:PORT' said
stop chip
start chip "$bin/a71chd" --sim "$work/chip.chip" --listen "i2c-unix:$work/bus"
wait_line chip '^ready$' >/dev/null
on_bus()
{
    env LD_PRELOAD="${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so" ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
        A71CH_I2C_BUS="7:$work/bus" "$@"
}
check_output "probe over I2C" '^ok +applet +version 0x0131, evaluation' on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 probe
cp out said
check "begins with device and adapter" sh -c "head -n 2 said | awk '{ print \$1, \$2 }' | tr '\n' ' ' | grep -qx 'ok device ok adapter '"
check_fails 12 "probe of another address" on_bus "$bin/a71chConfig" i2c:/dev/i2c-7:0x49 probe
cp out said
check "finds nobody there" grep -qE '^FAILED +connect +nobody answers at address 0x49' said
done_testing
