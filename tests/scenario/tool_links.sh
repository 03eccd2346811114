#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every command of SPEC a71ch 8.7, and what the vendor's demo script does with them (reset, info, keys, wrapped keys,
# storage, counters, certificates, objects, locks, transport lock, SCP03), on one chip over every link: each line must end
# with its code, and print the same on each link. Lines with a $ are checked by facts from outside: openssl, diff.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

# what the commands need: keys, certificates, wrapped keys; all made by openssl
for i in 0 1 2; do
    openssl ecparam -name prime256v1 -genkey -noout -out key$i.pem 2>/dev/null
    openssl req -new -x509 -key key$i.pem -days 365 -subj "/C=BE/CN=device $i" -out crt$i.pem
    openssl x509 -in crt$i.pem -outform DER -out crt$i.der
done
openssl req -new -x509 -key key0.pem -days 365 -subj "/C=BE/O=An organisation with a long name/CN=longer" -outform DER -out long.der
hex()
{
    od -An -v -tx1 | tr -d ' \n'
}
wrapped() # KEY HEX
{
    /usr/bin/python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))' "$2" |
        openssl enc -id-aes128-wrap -K "$1" -iv A6A6A6A6A6A6A6A6 | hex
}
pub0=$(openssl ec -in key0.pem -pubout -outform DER 2>/dev/null | tail -c 65 | hex)
priv0=$(openssl ec -in key0.pem -outform DER 2>/dev/null | hex | cut -c 15-78)
cfg0=000102030405060708090a0b0c0d0e0f
cfg1=01010101010101010101010101010101
cfg2=02020202020202020202020202020202
sym=dbfee9e3b276154d67f9d84cb9355456
sym2=aabbccddeeff06070809a0b0b1b2b3b4
printf '1122334455667788' >data0.txt
printf '# the demo script\ninfo cnt\nset cnt -x 0 -h 00000009 # raise it\ninfo cnt\nconnect close\nconnect open\ninfo cnt\n' >script.txt
printf 'ENC %s\nMAC %s\nDEK %s\n' $cfg0 $cfg1 $cfg2 >keys.txt
printf 'scp auth -h 01 -k ../keys.txt\ninfo all\nset pair -x 0 -k key0.pem\nget pub -c 10 -x 0 -k scp.pem\nset gp -h 0100 -h 0102\ninfo objects\n' >scp.txt
printf 'apdu -cmd 00A4040005613731636800 -sw 9000\nscp clear_host\ninfo device\n' >>scp.txt

cat >lines <<EOF
0 debug reset
0 info device
0 info cnt
0 info pair
0 info pub
0 info status
0 info all
20 info sym
0 set pub -x 0 -h $pub0
0 set pub -x 1 -k key1.pem
0 set pair -x 0 -h $pub0 -h $priv0
0 set pair -x 1 -k key1.pem
0 info pair
0 gen pair -x 2
0 get pub -c 10 -x 2 -k gen.pem
\$ openssl pkey -pubin -in gen.pem -pubcheck -noout
0 erase pair -x 2
0 refpem -c 10 -x 0 -r ref.pem
0 get pub -c 10 -x 0 -k pub.pem
\$ openssl ec -in ref.pem -pubout -out refpub.pem
\$ cmp pub.pem refpub.pem
0 lock pair -x 1
1 set pair -x 1 -k key0.pem
1 erase pair -x 1
0 lock pub -x 1
1 erase pub -x 1
0 erase pub -x 0
0 info pub
0 set gp -h 0060 -h a4a50000efecb5cd650019358e0cd2beff6f1cb868cccba3050b4dc188672a87
0 set gp -h 0080 -h b4b50001
0 lock gp -h 0060 -n 3
1 set gp -h 0090 -h 00
0 set gp -h 00c0 -h d4d50003
0 info gp -h 0040 -n 5
0 info status
0 set cnt -x 0 -h 00000001
0 set cnt -x 1 -h 00007000
1 set cnt -x 1 -h 00006fff
0 info cnt
0 erase cnt -x 1
0 info cnt
0 debug reset
0 set sym -x 0 -h $sym
0 set sym -x 0 -h $(wrapped $sym $sym2)
0 set sym -x 0 -h $sym -w $sym2
1 set sym -x 0 -h $sym2 -w $sym2
0 set sym -x 7 -h $sym2
0 erase sym -x 7
0 erase sym -x 0
0 set cfg -x 0 -h $cfg1
0 set cfg -x 0 -h $(wrapped $cfg1 $cfg0)
0 set cfg -x 1 -h $cfg1
0 set cfg -x 1 -h $cfg1 -w $cfg1
0 set cfg -x 2 -h $cfg2
0 set pub -x 0 -h $(wrapped $cfg2 "${pub0#04}")
0 set pub -x 1 -h $pub0 -w $cfg2
0 set pub -x 2 -k key2.pem -w $cfg2
0 set pair -x 0 -h $pub0 -h $(wrapped $cfg1 "$priv0")
0 set pair -x 1 -h $pub0 -h $priv0 -w $cfg1
0 set pair -x 2 -k key2.pem -w $cfg1
1 set pair -x 3 -k key2.pem -w $cfg2
0 info pair
0 info pub
0 info status
0 get pub -c 20 -x 2 -k pub2.pem
\$ openssl ec -in key2.pem -pubout -out want2.pem
\$ cmp pub2.pem want2.pem
0 csr -x 0 -s /O=Acme/CN=device-{uid} -f dev.csr
\$ openssl req -in dev.csr -verify -noout
0 lock inject_plain
1 set pair -x 3 -k key0.pem
1 gen pair -x 3
0 set pair -x 3 -k key0.pem -w $cfg1
1 erase sym -x 1
0 info device
0 debug reset
0 apdu -cmd 8091000100 -sw 9000
1 apdu -cmd 8091000100 -sw 6985
0 set cfg -x 0 -h $cfg0
0 transport lock
1 info cnt
0 apdu -cmd 8091000100 -sw 9000
1 transport unlock -h $cfg1
0 transport unlock -h $cfg0
0 info device
1 transport lock
0 debug reset
0 obj write -x 0 -h 1122334455667788
0 obj write -x 1 -h 8877665544332211
0 obj write -x 2 -n 2
0 obj write -x 3 -h $pub0
1 obj write -x 3 -h 00
0 obj get -x 3
0 obj get -x 3 -h 0000 -s 0041 -f obj.txt
0 obj write -x 4 -f obj.txt
0 obj get -x 4 -f obj16.txt -t hex_16
\$ test "\$(wc -l <obj16.txt)" = 4 -a "\$(wc -l <obj.txt)" = 2
0 obj update -x 4 -h 0004 -f ../data0.txt
0 obj get -x 4 -s 0010
0 obj get -x 0 -h 0000 -s 0008 -f data0.txt
\$ cmp data0.txt ../data0.txt
0 obj update -x 1 -h 0004 -h 0000
0 obj get -x 1 -h 0002 -s 0004
0 obj erase -x 1
38 obj get -x 1
38 obj erase -x 1
38 obj update -x 1 -h 0000 -h 00
0 wcrt -x 0 -c ../long.der
0 wcrt -x 1 -p crt1.pem -n 2
0 wcrt -x 2 -h $(hex <crt2.der)
1 wcrt -x 2 -c crt2.der
0 rcrt -x 0 -c crt0.out
\$ cmp crt0.out ../long.der
0 rcrt -x 1 -c crt1.out
\$ cmp crt1.out ../crt1.der
0 rcrt -x 2
0 ucrt -x 0 -c crt0.der
0 ucrt -x 2 -p crt2.pem
38 ucrt -x 3 -p crt2.pem
0 rcrt -x 0 -c crt0.out
\$ cmp crt0.out ../crt0.der
0 ecrt -x 1
38 ecrt -x 1
38 rcrt -x 1
0 info objects
0 set gp -h 0e00 -c crt0.pem
0 info gp -h 0e00 -n 2
0 script -f ../script.txt
0 connect close
0 help
0 nc help
1 nc info device
0 scp put -h 01 -k ../keys.txt
1 scp put -h 01 -k ../keys.txt
0 script -f ../scp.txt
1 info cnt
0 info device
0 debug reset
0 info device
EOF

# flow NAME ADDRESS [RUNNER...]: every line; $work/NAME.out gets what they print
flow()
{
    name=$1 address=$2
    shift 2
    mkdir "$name"
    cp key*.pem crt*.pem crt*.der "$name"
    : >"$name.out"
    : >bad
    while read -r want line; do
        if [ "$want" = '$' ]; then
            (cd "$name" && eval "$line") >said 2>&1 || echo "$line: $(cat said)" >>bad
            continue
        fi
        # shellcheck disable=SC2086
        (cd "$name" && exec "$@" "$bin/a71chConfig" "$address" $line) </dev/null >said 2>err
        code=$?
        [ "$code" = "$want" ] || echo "$line: exit code $code, wanted $want: $(tail -n 1 said) $(cat err)" >>bad
        { echo "> $line"; cat said; } >>"$name.out"
    done <lines
    if [ ! -s bad ]; then ok "$name: each of the $(grep -c . lines) lines ends as it must"; else
        not_ok "$name: each line ends as it must" bad
    fi
}

# the same on each link but for the name that the vendor's I2C build gives the ATR
same()
{
    sed 's/^SCI2C_ATR=/ATR=/' "$1.out" >a
    sed 's/^SCI2C_ATR=/ATR=/' "$2.out" >b
    check "$2 prints what $1 prints" diff a b
}

start chip "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0 --listen "unix:$work/socket" --listen "i2c-unix:$work/bus"
wait_line chip '^ready$' >/dev/null || done_testing
tcp=$(wait_line chip '^listening tcp:' | sed 's/^listening tcp://')
flow tcp "$tcp"
flow unix "unix:$work/socket"
same tcp unix
flow i2c i2c:/dev/i2c-7 env LD_PRELOAD="${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so" A71CH_I2C_BUS="7:$work/bus" \
    ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
same tcp i2c
check "I2C names its ATR as the vendor's I2C build does" grep -q '^SCI2C_ATR=0xB8\.04\.' i2c.out
stop chip
if "$bin/a71chConfig" "sim:$work/chip" info device >said 2>err; then
    flow sim "sim:$work/chip"
    same tcp sim
else
    echo "skip - sim: prints what tcp prints: $(cat err)"
fi
check "there are about a hundred lines" test "$(grep -c . lines)" -gt 100
done_testing
