#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# a71chConfig as AN12131 chapter 8 uses it, and every output and exit code of SPEC a71ch 8 that is built, to the byte.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
tab=$(printf '\t')

# run WANTED_CODE COMMAND...: stdout without the start-up lines to $work/got, stderr to $work/err
run()
{
    wanted=$1
    shift
    "$bin/a71chConfig" "$chip" "$@" >"$work/all" 2>"$work/err"
    code=$?
    sed '1,/^Applet-Rev:SecureBox-Rev /d' "$work/all" >"$work/got"
    [ "$code" = "$wanted" ] || {
        echo "exit code $code, wanted $wanted" >>"$work/got"
        return 1
    }
}

# prints CLAIM CODE COMMAND... <expected: exact stdout of the command
prints()
{
    claim=$1 code_wanted=$2
    shift 2
    cat >"$work/want"
    run "$code_wanted" "$@"
    if cmp -s "$work/want" "$work/got"; then ok "$claim"; else
        diff "$work/want" "$work/got" >"$work/diff"
        cat "$work/err" >>"$work/diff"
        not_ok "$claim" "$work/diff"
    fi
}

# fails CLAIM CODE "failure text" "line before it, or nothing" COMMAND...
fails()
{
    claim=$1 code_wanted=$2 text=$3 line=$4
    shift 4
    if run "$code_wanted" "$@" && [ "$(tail -n 1 "$work/got")" = "Command Failed ($text)" ] &&
        { [ -z "$line" ] || grep -qxF -- "$line" "$work/got"; }; then
        ok "$claim"
    else
        not_ok "$claim" "$work/all"
    fi
}

says()
{
    claim=$1
    shift
    if grep -qF -- "$*" "$work/err"; then ok "$claim"; else not_ok "$claim" "$work/err"; fi
}

# the uncompressed point of a key file in hex, and as `NAME (LEN=65):` in three lines
point()
{
    openssl ec -in "$1" -pubout -outform DER 2>/dev/null | tail -c 65 | od -An -v -tx1 | tr -d ' \n' | tr a-f A-F
}

colon_lines()
{
    printf '%s' "$1" | sed 's/../&:/g; s/:$//' | fold -w 96
    echo
}

start_chip chip
chip=${A71CH_ADDRESS#tcp:}
unset A71CH_ADDRESS

# AN12131 chapter 8
openssl ecparam -name prime256v1 -genkey -noout -out deviceKey.key 2>/dev/null
openssl ec -in deviceKey.key -pubout -out devicePub.pem 2>/dev/null
device=$(point deviceKey.key)
prints "debug reset succeeds in silence" 0 debug reset </dev/null
cat >banner <<'EOF'
a71chConfig (Rev 1.20) .. connect to A71CH. Chunksize at link layer = 256.
ATR
HostLib Version  : 0x0140
Applet Version   : 0x0131
SecureBox Version: 0x0000

==========SELECT-DONE=========
HostLib Version            : 0x0140
Applet-Rev:SecureBox-Rev   : 0x0131:0x0000
EOF
sed 's/^ATR=0x\([0-9A-F][0-9A-F]\.\)\{29\}$/ATR/' all >first
check "the first lines are the vendor's, with an ATR of 29 bytes" diff banner first
prints "set pair prints the public key and hides the private one" 0 set pair -x 0 -k deviceKey.key <<EOF
ECCPrivateKey: hidden
ECCPublicKey (LEN=65):
$(colon_lines "$device")
EOF
prints "info pair shows the key and three empty slots" 0 info pair <<EOF
Public Keys from ECC key pairs:
${tab}idx=0x00 ECC_PUB (LEN=65):
$(colon_lines "$device")
${tab}idx=0x01 n.a.
${tab}idx=0x02 n.a.
${tab}idx=0x03 n.a.
EOF
prints "refpem succeeds in silence" 0 refpem -c 10 -x 0 -r deviceRefKey.ref_key </dev/null
openssl ec -in deviceRefKey.ref_key -pubout -out refPub.pem 2>/dev/null
check "the reference key's public key is the real one" cmp devicePub.pem refPub.pem
openssl ec -in deviceRefKey.ref_key -outform DER 2>/dev/null | od -An -v -tx1 | tr -d ' \n' >ref.hex
check "the reference key names class 10, slot 0 where the private key would be" \
    grep -q '^[0-9a-f]*042010000000000000000000000000000000000000000000a5a6b5b6a5a6b5b61000' ref.hex
check "the reference key is readable by its owner only" test "$(stat -c %a deviceRefKey.ref_key)" = 600
check_output "the reference key is an EC PRIVATE KEY" 'BEGIN EC PRIVATE KEY' head -n 1 deviceRefKey.ref_key
check_fails any "the reference key has nothing of the private key" \
    grep -q "$(openssl ec -in deviceKey.key -noout -text 2>/dev/null | sed -n 3p | tr -d ' :')" ref.hex
prints "get pub of a pair succeeds in silence" 0 get pub -c 10 -x 0 -k got.pem </dev/null
check "get pub writes what openssl ec -pubout writes" cmp devicePub.pem got.pem

# other forms of the same
prints "refpem takes the public key from a file without asking the chip" 0 refpem -c 20 -x 2 -k devicePub.pem -r pub.ref </dev/null
openssl ec -in pub.ref -pubout -out pubRefPub.pem 2>/dev/null
check "and it is that file's key" cmp devicePub.pem pubRefPub.pem
check "class and slot end the number" sh -c \
    "openssl ec -in pub.ref -outform DER 2>/dev/null | od -An -v -tx1 | tr -d ' \n' | grep -q 'a5a6b5b6a5a6b5b62002'"
openssl ecparam -name prime256v1 -genkey -out withParameters.key 2>/dev/null
openssl pkcs8 -topk8 -nocrypt -in deviceKey.key -out pkcs8.key
openssl pkcs8 -topk8 -passout pass:secret -in deviceKey.key -out encrypted.key
openssl ec -in deviceKey.key -conv_form compressed -out compressed.key 2>/dev/null
for form in withParameters pkcs8 compressed; do
    run 0 set pair -x 1 -k $form.key
    run 0 get pub -c 10 -x 1 -k $form.pem
    openssl ec -in $form.key -pubout -conv_form uncompressed -out want.pem 2>/dev/null
    check "set pair reads a key file: $form" cmp want.pem $form.pem
done
private=$(openssl ec -in deviceKey.key -outform DER 2>/dev/null | od -An -v -tx1 | tr -d ' \n' | cut -c 15-78)
prints "set pair takes hex" 0 set pair -x 2 -h "$device" -h "$private" </dev/null
run 0 get pub -c 10 -x 2 -k hex.pem
check "and stores that key" cmp devicePub.pem hex.pem
prints "set pub takes a public key file" 0 set pub -x 1 -k devicePub.pem <<EOF
ECCPublicKey (LEN=65):
$(colon_lines "$device")
EOF
prints "set pub takes hex" 0 set pub -x 0 -h "$device" </dev/null
prints "erase pub succeeds in silence" 0 erase pub -x 0 </dev/null
prints "info pub shows what is stored" 0 info pub <<EOF
Public Keys:
${tab}idx=0x00 n.a.
${tab}idx=0x01 ECC_PUB (LEN=65):
$(colon_lines "$device")
${tab}idx=0x02 n.a.
EOF
run 0 get pub -c 20 -x 1 -k pub20.pem
check "get pub of class 20 is that key" cmp devicePub.pem pub20.pem
prints "gen pair succeeds in silence" 0 gen pair -x 3 </dev/null
run 0 get pub -c 10 -x 3 -k gen.pem
check "and gives a key that openssl accepts" openssl pkey -pubin -in gen.pem -pubcheck -noout
prints "erase pair succeeds in silence" 0 erase pair -x 3 </dev/null

# info
prints "set gp writes" 0 set gp -h 0020 -h 00112233445566778899aabbccddeeff </dev/null
prints "info gp prints segments on one line each" 0 info gp -h 0000 -n 2 <<EOF
GP Storage Data (2 segments from offset 0x0000):
${tab}0x0000 (LEN=32): 0000000000000000000000000000000000000000000000000000000000000000
${tab}0x0020 (LEN=32): 00112233445566778899AABBCCDDEEFF00000000000000000000000000000000
EOF
prints "info cnt prints both counters" 0 info cnt <<EOF
Monotonic counter values:
${tab}idx=0x00 0x00000000
${tab}idx=0x01 0x00000000
EOF
run 0 apdu -cmd 8091000100 -sw 9000
uid=$(tail -n 1 got | cut -c 1-36)
prints "info device" 0 info device <<EOF
A71CH in Debug Mode Version (SCP03 is not set up)
selectResponse:   0x0131
transportLockState: 0x03 (Transport Lock NOT YET set)
injectLockState:    0x02 (Unlocked)
gpStorageSize:      4096
uid (LEN=18):
$(colon_lines "$uid")
certUid (LEN=10):
$(colon_lines "$(echo "$uid" | cut -c 5-8)$(echo "$uid" | cut -c 17-32)")
EOF
prints "apdu prints command and answer" 0 apdu -cmd 8091000100 -sw 9000 <<EOF
cmd (LEN=5):
8091000100
rsp (LEN=20):
${uid}9000
EOF
prints "apdu with another status word fails after printing it" 1 apdu -cmd 8011030000 -sw 9000 <<EOF
cmd (LEN=5):
8011030000
rsp (LEN=2):
6985
Command Failed (exec failed (1): sw=0x6985)
EOF
for part in device pair pub cnt; do
    run 0 info $part && cat got
done >parts
run 0 info gp -h 0000 -n 128 && cat got >>parts
run 0 info all
check "info all is device, pair, pub, cnt and the whole storage" cmp parts got
run 0 info status
sed -n '1,24p' got >status
check "info status shows each slot" diff - status <<EOF
SCP03 is Not enabled
Key Pair status:
${tab}Index=0: Initialized Open
${tab}Index=1: Initialized Open
${tab}Index=2: Initialized Open
${tab}Index=3: Empty Open
Public Key status:
${tab}Index=0: Empty Open
${tab}Index=1: Initialized Open
${tab}Index=2: Empty Open
Config Key status:
${tab}Index=0: Empty Open
${tab}Index=1: Empty Open
${tab}Index=2: Empty Open
Sym Secret status:
${tab}Index=0: Empty Open
${tab}Index=1: Empty Open
${tab}Index=2: Empty Open
${tab}Index=3: Empty Open
${tab}Index=4: Empty Open
${tab}Index=5: Empty Open
${tab}Index=6: Empty Open
${tab}Index=7: Empty Open
Counter status:
EOF
check "info status ends with 32 rows of four segments" sh -c \
    "[ \$(grep -c '^${tab}Offset=0x.*: Open   Offset=0x.*: Open   Offset=0x.*: Open   Offset=0x....: Open\$' got) = 32 ]"
run 20 info sym
check "info sym says what the vendor's says" grep -qx 'Not implemented.' got

# JSON
for part in device pair pub cnt status all "gp -h 0000 -n 1"; do
    check "--json info $part is JSON" sh -c "'$bin/a71chConfig' --json $chip info $part | /usr/bin/python3 -m json.tool"
done
check_output "--json stands behind the address too" "\"uid\":\"$(echo "$uid" | tr A-F a-f)\"" "$bin/a71chConfig" "$chip" --json info device
check_output "--json get pub gives the point" "\"publicKey\":\"$(echo "$device" | tr A-F a-f)\"" \
    "$bin/a71chConfig" "$chip" --json get pub -c 10 -x 0 -k j.pem
check_fails 21 "--json with another command is refused" "$bin/a71chConfig" --json "$chip" debug reset
for line in 'info foo' 'info gp -h 00' 'get pub -c 10 -x 3 -k no.pem' 'xyz' ''; do
    "$bin/a71chConfig" --json "$chip" $line >json.out 2>json.err
    check "--json leaves stdout empty when it fails: '$line'" test ! -s json.out -a -s json.err
done
check "and nothing happened" run 0 get pub -c 10 -x 0 -k still.pem

# script
printf '# a comment\n  # another\ngen pair -x 3 # with a comment\ninfo cnt\nquit\ngen nothing\n' >script
prints "a script echoes its lines and ends at quit" 0 script -f script <<EOF
>> # a comment

>>   # another

>> gen pair -x 3 # with a comment

>> info cnt

Monotonic counter values:
${tab}idx=0x00 0x00000000
${tab}idx=0x01 0x00000000
>> quit

EOF
printf 'erase pair -x 3\r\nget pub -c 10 -x 3 -k no.pem\nerase pair -x 0\n' >script
prints "the first failure ends a script with its code" 1 script -f script <<EOF
>> erase pair -x 3$(printf '\r')

>> get pub -c 10 -x 3 -k no.pem

Command Failed (exec failed (1): sw=0x6985)
EOF
check "what follows it is not done" run 0 get pub -c 10 -x 0 -k still.pem
printf 'info cnt\n\n' >script
fails "an empty line is an error" 33 "arg count mistake (33)" "" script -f script
printf 'script -f script\n' >script
fails "a script does not start itself" 28 "exec halted (28)" "" script -f script
head -c 2000 /dev/zero | tr '\0' a >script
fails "an over-long line is refused" 29 "file format error (29)" "" script -f script
printf 'info \0cnt\n' >script
fails "a zero byte is refused" 29 "file format error (29)" "" script -f script
: >script
prints "an empty script does nothing" 0 script -f script </dev/null

# errors, SPEC a71ch 8.2
fails "sub-command missing" 33 "arg count mistake (33)" "" gen
check "shows the usage" grep -q '^usage: ' got
fails "sub-command unknown" 21 "check usage (21)" "foo is an unknown command option." erase foo -x 0
fails "command unknown" 21 "check usage (21)" "'xyz' is an unknown command" xyz
fails "no command" 21 "check usage (21)" ""
fails "wrong letter" 32 "arg option error (32)" "Argument -y not expected" gen pair -y 0
fails "option missing" 33 "arg count mistake (33)" "" gen pair
fails "value missing" 33 "arg count mistake (33)" "" gen pair -x
fails "index above 255" 30 "arg range error (30)" "" gen pair -x 300
fails "index below 0" 30 "arg range error (30)" "" gen pair -x -1
fails "index no number" 34 "arg value error (34)" "-x abc: abc is not an integer" gen pair -x abc
fails "index that the chip has not" 1 "exec failed (1): sw=0x7023" "" gen pair -x 4
says "names the slots there are" "there is no key pair 4; the chip has 0 to 3"
fails "hex too short" 34 "arg value error (34)" "Valid range: [8:512]" apdu -cmd 809100 -sw 9000
check "hex too short names the argument" grep -qxF 'Argument: -cmd' got
check "hex too short counts the characters" grep -qxF 'Number of characters: 6' got
fails "hex too long" 34 "arg value error (34)" "Valid range: [4:4]" apdu -cmd 80910001 -sw 900000
fails "hex odd" 34 "arg value error (34)" "Number of characters: 9" apdu -cmd 809100010 -sw 9000
fails "hex with 0x" 34 "arg value error (34)" "" apdu -cmd 0x91000100 -sw 9000
fails "key file missing" 23 "file open failed (23)" "failed to open none.key" set pair -x 0 -k none.key
fails "script file missing" 23 "file open failed (23)" "unable to open none" script -f none
fails "get pub of another class" 30 "arg range error (30)" "" get pub -c 30 -x 0 -k no.pem
fails "get pub of an empty slot" 1 "exec failed (1): sw=0x6985" "" get pub -c 10 -x 3 -k no.pem
fails "get pub where no file can be" 25 "pemfile write failed (25)" "" get pub -c 10 -x 0 -k none/no.pem
fails "refpem of another class" 25 "pemfile write failed (25)" "Reading the public key failed with status 0x7023" \
    refpem -c 30 -x 0 -r no.ref
fails "refpem of an empty slot" 25 "pemfile write failed (25)" "Reading the public key failed with status 0x6985" \
    refpem -c 10 -x 3 -r no.ref
fails "refpem from a missing file" 23 "file open failed (23)" "" refpem -c 10 -x 3 -k none.key -r no.ref
fails "more segments than there can be" 30 "arg range error (30)" "" info gp -h 0000 -n 193
fails "options in another order" 32 "arg option error (32)" "Argument -k not expected" set pair -k deviceKey.key -x 0
check "a failed command leaves no file" test ! -e no.pem -a ! -e no.ref
prints "words after the last option are ignored" 0 erase pub -x 1 extra words </dev/null

# key files that are none
openssl ecparam -name secp384r1 -genkey -noout -out p384.key 2>/dev/null
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
fails "a key on another curve" 26 "bit curve error (26)" "" set pair -x 1 -k p384.key
fails "a key of another algorithm" 26 "bit curve error (26)" "" set pair -x 1 -k rsa.key
fails "an encrypted key is refused, not asked about" 24 "pemfile read failed (24)" "" set pair -x 1 -k encrypted.key
fails "a public key for a pair" 24 "pemfile read failed (24)" "" set pair -x 1 -k devicePub.pem
fails "a file without a key" 24 "pemfile read failed (24)" "" set pair -x 1 -k ref.hex
: >empty.key
fails "an empty file" 24 "pemfile read failed (24)" "" set pair -x 1 -k empty.key
head -c 150 deviceKey.key >cut.key
fails "a truncated key" 24 "pemfile read failed (24)" "" set pair -x 1 -k cut.key
head -c 100000 /dev/zero >big.key
fails "a huge file" 23 "file open failed (23)" "" set pair -x 1 -k big.key
{ # the private key of one with the public key of the other
    openssl ec -in deviceKey.key -outform DER 2>/dev/null | head -c 56
    openssl ec -in withParameters.key -outform DER 2>/dev/null | tail -c 65
} | openssl base64 | { echo '-----BEGIN EC PRIVATE KEY-----'; cat; echo '-----END EC PRIVATE KEY-----'; } >mixed.key
fails "halves that do not belong together" 24 "pemfile read failed (24)" "" set pair -x 1 -k mixed.key
says "names the cause" "does not belong"
fails "a reference key is no key to store" 29 "file format error (29)" "" set pair -x 1 -k deviceRefKey.ref_key
says "tells what it is" "reference key"
run 0 get pub -c 10 -x 1 -k same.pem
check "none of them changed the slot" cmp compressed.pem same.pem

# addresses and states
check_output "--help needs no chip" '^usage: ' "$bin/a71chConfig" --help
check_output "--version needs no chip" '^a71chConfig [0-9]' "$bin/a71chConfig" --version
check_output "help over a connection" '^usage: ' "$bin/a71chConfig" "$chip" help
check_output "tcp: before the address" '^idx|idx=0x00' "$bin/a71chConfig" "tcp:$chip" info cnt
check_output "address from A71CH_ADDRESS" 'idx=0x00' env A71CH_ADDRESS="tcp:$chip" "$bin/a71chConfig" info cnt
check_output "address from RJCT_SERVER_ADDR" 'idx=0x00' env RJCT_SERVER_ADDR="$chip" "$bin/a71chConfig" info cnt
start unix "$bin/a71chd" --sim "$work/unix.chip" --listen "unix:$work/socket"
wait_line unix '^ready$' >/dev/null
check_output "unix: address" 'n\.a\.' "$bin/a71chConfig" "unix:$work/socket" info pair
check "a full disk is no success" sh -c "! '$bin/a71chConfig' $chip info pair >/dev/full 2>/dev/null"

select_fails() # CLAIM SW COMMAND...
{
    claim=$1 sw=$2
    shift 2
    "$@" >all 2>err
    code=$?
    if [ "$code" = 12 ] && [ "$(tail -n 2 all | head -n 1)" = "==========SELECT-FAILED=========" ] &&
        [ "$(tail -n 1 all)" = "Select failed. SW = $sw" ]; then ok "$claim"; else not_ok "$claim" all; fi
}
stop chip
select_fails "no server: exit 12" 0x0002 "$bin/a71chConfig" "$chip" info device
check "no server: the vendor's status line" grep -q '^SM_Connect failed with status 0x7001' all
says "no server: address and cure" "nobody listens at $chip (Connection refused); start a71chd"
select_fails "no such socket: exit 12" 0x0002 "$bin/a71chConfig" "unix:$work/none" info device
select_fails "bad address: exit 12" 0x0003 "$bin/a71chConfig" localhost info device
select_fails "no such I2C bus: exit 12" 0x0002 "$bin/a71chConfig" "i2c:$work/i2c-1" info device
says "i2c: says what is missing" "cannot open the bus: No such file or directory; load the module i2c-dev"
select_fails "no address: exit 12" 0x0004 "$bin/a71chConfig"

fake() # NAME COMMAND=ANSWER...: sets chip
{
    start "$@"
    chip=$(wait_line "$1" '^listening tcp:' | sed 's/^listening tcp://')
}
select=00A4040005613731636800
fake noapplet "$root/tests/scenario/fake_chip.py" $select=6A82
select_fails "applet absent: exit 12 with its status word" 0x6A82 "$bin/a71chConfig" "$chip" info device
fake otherselect "$root/tests/scenario/fake_chip.py" $select=6985
select_fails "other refusal of SELECT is 7002" 0x7002 "$bin/a71chConfig" "$chip" info device
fake locked "$root/tests/scenario/fake_chip.py" $select=013000059000 8091000300=0130213104009000 \
    8091000100=4790516847911210234100536696475148129000
prints "info device of a locked production chip" 0 info device <<EOF
A71CH in Production Version (SCP03 keys set)
selectResponse:   0x0130
restricted keypair index: 0x02
transportLockState: 0x01 (Transport Lock is set)
injectLockState:    0x01 (Locked)
gpStorageSize:      1024
uid (LEN=18):
47:90:51:68:47:91:12:10:23:41:00:53:66:96:47:51:48:12
certUid (LEN=10):
51:68:23:41:00:53:66:96:47:51
EOF
check "the SecureBox version is shown" grep -qx 'Applet-Rev:SecureBox-Rev   : 0x0130:0x0005' all
fails "what the chip does not know" 1 "exec failed (1): sw=0x6D00" "" debug reset
fake scp "$root/tests/scenario/fake_chip.py" 8091000300=0131F21210009000 8091000100=4790516847911210234100536696475148129000 \
    8091000400="01$(printf '5F%.0s' 1 2 3 4)$(printf 'A5%.0s' 1 2 3 4 5 6 7 8 9 10 11)$(printf '55%.0s' 1 2 3 4 5)$(printf '5F%.0s' $(seq 128))9000"
run 0 info device
check "info device of a chip with mandatory SCP03" grep -qx 'A71CH in Debug Mode Version (SCP03 is mandatory)' got
check "transport lock that cannot be set any more" \
    grep -qx 'transportLockState: 0x02 (Open device, Transport Lock can no longer be set)' got
fails "info pair of a chip with mandatory SCP03" 1 "exec failed (1): sw=0x7041" \
    "info command needs prior setup of SCP03 channel." info pair
run 0 info status
check "info status of frozen slots" grep -qx "${tab}Index=3: Initialized Locked" got
check "info status of mandatory SCP03" grep -qx 'SCP03 is Mandatory' got
check "info status of frozen storage" \
    grep -qx "${tab}Offset=0x0F80: Lock   Offset=0x0FA0: Lock   Offset=0x0FC0: Lock   Offset=0x0FE0: Lock" got
fake broken "$root/tests/scenario/fake_chip.py" 8091000300= 809400EA00=00 8012010000=019000
fails "a connection that breaks" 1 "exec failed (1): sw=0x7003" "" info device
fails "an answer without status word" 1 "exec failed (1): sw=0x7022" "" debug reset
fails "data where none belongs" 1 "exec failed (1): sw=0x7022" "" gen pair -x 1
done_testing
