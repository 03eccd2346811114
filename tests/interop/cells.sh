# SPDX-License-Identifier: Apache-2.0
# One function for each program of programs.txt: it uses $key as a user would and returns 0 when what came of it is
# right in the eyes of software that knows nothing of the chip. Sourced by scenario/matrix.sh, which says:
#
#   key      what the program is given: a reference file or an a71ch: name
#   cert     the certificate for it, leaf and issuer; ca: the authority's
#   w        folder with the other keys and certificates; the cell's own folder is the current one
#   use      runs a program with the configuration under test and a deadline; use_start NAME: in the background
#   need PROGRAM, has WHAT command ...: false, and the cell is skipped, when it is not installed or the command fails
# shellcheck disable=SC2154

verifies()
{
    openssl dgst "-${1:-sha256}" -verify "$w/pub.pem" -signature sig "$w/message"
}

cell_dgst() { use openssl dgst -sha256 -sign "$key" -out sig "$w/message" && verifies; }
cell_digests()
{
    for digest in sha1 sha224 sha256 sha384 sha512; do
        use openssl dgst -$digest -sign "$key" -out sig "$w/message" && verifies $digest || return 1
    done
}
cell_pkcs8() { use openssl dgst -sha256 -sign "$w/ref8.pem" -out sig "$w/message" && verifies; }
cell_pkeyutl_sign() { use openssl pkeyutl -sign -inkey "$key" -in "$w/hash" -pkeyopt digest:sha256 -out sig && verifies; }
cell_pkeyutl_derive()
{
    use openssl pkeyutl -derive -inkey "$key" -peerkey "$w/peer.pub" -out chip &&
        openssl pkeyutl -derive -inkey "$w/peer.key" -peerkey "$w/pub.pem" -out soft && cmp chip soft
}
cell_req() { use openssl req -new -key "$key" -subj /CN=r -out csr && openssl req -in csr -verify -noout; }
cell_req_x509() { use openssl req -x509 -new -key "$key" -subj /CN=r -days 2 -out crt && openssl verify -CAfile crt crt; }
cell_x509_cakey()
{
    use openssl x509 -req -in "$w/server.csr" -CA "$w/chipca.pem" -CAkey "$key" -CAcreateserial -CAserial serial -days 2 -out crt &&
        openssl verify -CAfile "$w/chipca.pem" crt
}
cell_ca()
{
    : >index && echo 01 >serial && cat >ca.cnf <<END
[ca]
default_ca = a
[a]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
default_days = 2
policy = p
[p]
commonName = supplied
END
    use openssl ca -batch -config ca.cnf -cert "$w/chipca.pem" -keyfile "$key" -in "$w/server.csr" -out crt -notext &&
        openssl verify -CAfile "$w/chipca.pem" crt
}
cell_ocsp()
{
    printf 'V\t351231235959Z\t\t1234\tunknown\t/CN=x\n' >index
    openssl ocsp -issuer "$w/chipca.pem" -no_nonce -serial 0x1234 -reqout asked &&
        use openssl ocsp -index index -CA "$w/chipca.pem" -rsigner "$w/chipca.pem" -rkey "$key" -reqin asked -respout answer &&
        openssl ocsp -respin answer -issuer "$w/chipca.pem" -serial 0x1234 -CAfile "$w/chipca.pem"
}
cell_cms_sign()
{
    use openssl cms -sign -in "$w/message" -signer "$cert" -inkey "$key" -out signed &&
        openssl cms -verify -in signed -CAfile "$ca" -purpose any -out plain
}
cell_cms_decrypt()
{
    openssl cms -encrypt -binary -aes256 -in "$w/message" -out secret "$cert" &&
        use openssl cms -decrypt -binary -in secret -recip "$cert" -inkey "$key" -out plain && cmp plain "$w/message"
}
cell_smime()
{
    use openssl smime -sign -in "$w/message" -signer "$cert" -inkey "$key" -out signed &&
        openssl smime -verify -in signed -CAfile "$ca" -purpose any -out plain
}
cell_pkey_pubout() { use openssl pkey -in "$key" -pubout -out pub && cmp pub "$w/pub.pem"; }
cell_pkey_check() { use openssl pkey -in "$key" -check -noout; }
cell_pkey_text() { use openssl pkey -in "$key" -noout -text >text && grep -qi 'a5:a6:b5:b6:a5:a6:b5:b6' text; }
same() { openssl pkey -in "$1" -outform DER -out a && openssl pkey -in "$w/ref.pem" -outform DER -out b && cmp a b; }
cell_ec() { use openssl ec -in "$key" -out again && same again; }
cell_pkcs12()
{
    use openssl pkcs12 -export -in "$cert" -inkey "$key" -passout pass:word -out p12 &&
        openssl pkcs12 -in p12 -passin pass:word -nocerts -noenc -out again && same again
}

# --- TLS with openssl ---
# far VERSION: a server of software that wants our certificate and turns lines round; sets far_port
far()
{
    start far openssl s_server -accept 127.0.0.1:0 -cert "$w/server.pem" -key "$w/server.key" -CAfile "$ca" -Verify 1 \
        -verify_return_error "-$1" "$2"
    far_port=$(wait_line far '^ACCEPT' | sed 's/.*://')
}
# with_far VERSION MODE command ...: the command while it is there, `PORT` in it replaced
with_far()
{
    far "$1" "$2" || return 1
    shift 2
    "$@"
    code=$?
    stop far
    return $code
}
echoes() { printf 'hello\nCLOSE\n' | "$@" 2>&1 | grep olleh; }
s_client() { echoes use openssl s_client -quiet -CAfile "$ca" -verify_return_error -connect "127.0.0.1:$far_port" -cert "$cert" -key "$key"; }
cell_s_client_12() { with_far tls1_2 -rev s_client; }
cell_s_client_13() { with_far tls1_3 -rev s_client; }

# asks PORT: a client of software says hello to a server with the chip's key
asks() { echoes timeout 10 openssl s_client -quiet -CAfile "$ca" -verify_return_error -verify_hostname localhost -connect "127.0.0.1:$1"; }
# listens PORT: without a handshake, which would cost a signature
listens() { ss -Hltn "sport = :$1" | grep -q .; }
listens_or_gone() { not_running "$(cat "$w/$1.pid")" || listens "$2"; }
# served NAME PORT command ...: the command when the server NAME listens; then the server ends
served()
{
    name=$1 port=$2
    shift 2
    wait_for 5 listens_or_gone "$name" "$port" && listens "$port" && "$@"
    code=$?
    stop "$name"
    return $code
}
s_server()
{
    port=$(free_port)
    use_start near openssl s_server -accept "127.0.0.1:$port" -cert "$cert" -key "$key" -rev "-$1"
    served near "$port" asks "$port"
}
cell_s_server_12() { s_server tls1_2; }
cell_s_server_13() { s_server tls1_3; }

# --- mosquitto ---
# broker NAME START VERSION CERT KEY: sets port
broker()
{
    port=$(free_port)
    cat >broker.conf <<END
user root
listener $port 127.0.0.1
cafile $ca
certfile $4
keyfile $5
require_certificate true
allow_anonymous true
tls_version $3
END
    $2 "$1" mosquitto -c "$PWD/broker.conf"
    wait_for 5 listens_or_gone "$1" "$port"
}
mosquitto_pub()
{
    need mosquitto && broker far start "$1" "$w/server.pem" "$w/server.key" &&
        served far "$port" use mosquitto_pub -h 127.0.0.1 -p "$port" -q 1 --cafile "$ca" --cert "$cert" --key "$key" -t t -m hello
}
cell_mosquitto_pub_12() { mosquitto_pub tlsv1.2; }
cell_mosquitto_pub_13() { mosquitto_pub tlsv1.3; }
softly() { command mosquitto_pub -h 127.0.0.1 -p "$port" -q 1 --cafile "$ca" --cert "$w/foreign.pem" --key "$w/peer.key" -t t -m hello -r; }
cell_mosquitto_sub()
{
    need mosquitto && broker far start tlsv1.3 "$w/server.pem" "$w/server.key" && softly &&
        served far "$port" use mosquitto_sub -h 127.0.0.1 -p "$port" --cafile "$ca" --cert "$cert" --key "$key" -t t -C 1 -W 5
}
mosquitto_broker()
{
    need mosquitto && broker near use_start "$1" "$cert" "$key"
    served near "$port" softly
}
cell_mosquitto_12() { mosquitto_broker tlsv1.2; }
cell_mosquitto_13() { mosquitto_broker tlsv1.3; }

# --- web ---
curl_fetch()
{
    use curl -sS --fail --tls-max "$1" --tlsv"$1" --cacert "$ca" --cert "$cert" --key "$key" \
        "https://127.0.0.1:$far_port/page" -o fetched && cmp fetched page
}
cell_curl_12() { need curl && echo hello >page && with_far tls1_2 -WWW curl_fetch 1.2; }
cell_curl_13() { need curl && echo hello >page && with_far tls1_3 -WWW curl_fetch 1.3; }
gets() { curl -sS --fail --cacert "$ca" --retry 3 --retry-connrefused "https://127.0.0.1:$1/" | grep -q "from $2"; }
twice() { "$@" && "$@"; }
cell_nginx()
{
    need nginx || return 1
    port=$(free_port)
    cat >nginx.conf <<END
daemon off;
pid $PWD/nginx.pid;
error_log $PWD/error.log;
worker_processes 2;
$([ "$(id -u)" != 0 ] || echo 'user www-data;')
events { }
http {
    access_log off;
    client_body_temp_path $PWD/t1; proxy_temp_path $PWD/t2; fastcgi_temp_path $PWD/t3;
    uwsgi_temp_path $PWD/t4; scgi_temp_path $PWD/t5;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_session_cache off;
        ssl_certificate $cert;
        ssl_certificate_key $key;
        location / { return 200 "from nginx"; }
    }
}
END
    use_start near nginx -c "$PWD/nginx.conf" -e "$PWD/error.log"
    served near "$port" twice gets "$port" nginx
}
cell_haproxy()
{
    need haproxy || return 1
    port=$(free_port)
    cat "$cert" >bundle.pem
    cat "$key" >>bundle.pem
    cat >haproxy.cfg <<END
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend f
    bind 127.0.0.1:$port ssl crt $PWD/bundle.pem
    http-request return status 200 content-type text/plain string "from haproxy"
END
    use_start near haproxy -db -f haproxy.cfg
    served near "$port" gets "$port" haproxy
}

# --- tunnels ---
cell_stunnel_client()
{
    need stunnel && with_far tls1_3 -rev stunnel_client
}
stunnel_client()
{
    port=$(free_port)
    printf 'foreground = yes\npid =\n[s]\nclient = yes\naccept = 127.0.0.1:%s\nconnect = 127.0.0.1:%s\ncert = %s\nkey = %s\nCAfile = %s\nverifyChain = yes\n' \
        "$port" "$far_port" "$cert" "$key" "$ca" >stunnel.conf
    use_start near stunnel "$PWD/stunnel.conf"
    served near "$port" echoes timeout 10 /usr/bin/python3 "$w/line.py" "$port"
}
cell_stunnel_server()
{
    need stunnel || return 1
    port=$(free_port)
    printf 'foreground = yes\npid =\n[s]\naccept = 127.0.0.1:%s\nexec = %s\ncert = %s\nkey = %s\n' \
        "$port" "$w/rev" "$cert" "$key" >stunnel.conf
    use_start near stunnel "$PWD/stunnel.conf"
    served near "$port" asks "$port"
}
socat_client() { echoes use socat -t 5 - "OPENSSL:127.0.0.1:$far_port,cert=$cert,key=$key,cafile=$ca,commonname=localhost"; }
cell_socat_client() { need socat && with_far tls1_3 -rev socat_client; }
cell_socat_server()
{
    need socat || return 1
    port=$(free_port)
    use_start near socat "OPENSSL-LISTEN:$port,bind=127.0.0.1,cert=$cert,key=$key,verify=0" "EXEC:$w/rev"
    served near "$port" asks "$port"
}

# --- languages ---
python_client() { use /usr/bin/python3 "$w/client.py" "$far_port" "$ca" "$cert" "$key" | grep -q olleh; }
cell_python_client() { with_far tls1_3 -rev python_client; }
cell_python_server()
{
    port=$(free_port)
    use_start near /usr/bin/python3 "$w/server.py" "$port" "$cert" "$key"
    served near "$port" asks "$port"
}
cell_cryptography()
{
    has "python3's cryptography" /usr/bin/python3 -c 'import cryptography' || return 1
    use /usr/bin/python3 -c '
import sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
open("sig", "wb").write(key.sign(open(sys.argv[2], "rb").read(), ec.ECDSA(hashes.SHA256())))' "$key" "$w/message" && verifies
}
cell_node_crypto()
{
    need node && use node -e '
        const c = require("crypto"), f = require("fs");
        f.writeFileSync("sig", c.sign("sha256", f.readFileSync(process.argv[2]), f.readFileSync(process.argv[1])))' \
        "$key" "$w/message" && verifies
}
node_tls()
{
    use node -e '
        const f = require("fs"), [port, ca, cert, key] = process.argv.slice(1);
        const s = require("tls").connect({ port, host: "127.0.0.1", servername: "localhost", ca: f.readFileSync(ca),
            cert: f.readFileSync(cert), key: f.readFileSync(key) }, () => s.write("hello\nCLOSE\n"));
        s.on("data", (d) => { console.log(d.toString()); s.end(); });' "$far_port" "$ca" "$cert" "$key" | grep -q olleh
}
cell_node_tls() { need node && with_far tls1_3 -rev node_tls; }
perl_tls()
{
    use perl -MIO::Socket::SSL -e '
        my $s = IO::Socket::SSL->new(PeerHost => "127.0.0.1", PeerPort => $ARGV[0], SSL_verifycn_name => "localhost",
            SSL_ca_file => $ARGV[1], SSL_cert_file => $ARGV[2], SSL_key_file => $ARGV[3]) or die $SSL_ERROR;
        print $s "hello\nCLOSE\n"; print scalar <$s>;' "$far_port" "$ca" "$cert" "$key" | grep -q olleh
}
cell_perl()
{
    need perl && has "IO::Socket::SSL for perl" perl -MIO::Socket::SSL -e 1 && with_far tls1_3 -rev perl_tls
}
cell_php_sign()
{
    need php && use php -r '
        $k = openssl_pkey_get_private("file://" . $argv[1]) or exit(1);
        openssl_sign(file_get_contents($argv[2]), $s, $k, "sha256") or exit(1);
        file_put_contents("sig", $s);' "$key" "$w/message" && verifies
}
php_tls()
{
    use php -r '
        $c = stream_context_create(["ssl" => ["cafile" => $argv[2], "local_cert" => $argv[3], "local_pk" => $argv[4],
            "peer_name" => "localhost"]]);
        $s = stream_socket_client("tls://127.0.0.1:" . $argv[1], $n, $e, 5, STREAM_CLIENT_CONNECT, $c) or exit(1);
        fwrite($s, "hello\nCLOSE\n"); echo fgets($s);' "$far_port" "$ca" "$cert" "$key" | grep -q olleh
}
cell_php_tls() { need php && with_far tls1_3 -rev php_tls; }

# --- what OpenSSL's old form is needed for ---
private_copy() { cp "$key" mine && chmod 600 mine; }
cell_ssh_y()
{
    need ssh-keygen && private_copy && use ssh-keygen -y -f mine >ssh.pub && ssh-keygen -i -m PKCS8 -f "$w/pub.pem" >soft.pub &&
        [ "$(cut -d' ' -f2 ssh.pub)" = "$(cut -d' ' -f2 soft.pub)" ]
}
cell_ssh_sign()
{
    need ssh-keygen && private_copy && ssh-keygen -i -m PKCS8 -f "$w/pub.pem" >mine.pub &&
        use ssh-keygen -Y sign -f mine -n file "$w/message" && mv "$w/message.sig" . &&
        printf 'me %s\n' "$(cat mine.pub)" >allowed && ssh-keygen -Y verify -f allowed -I me -n file -s message.sig <"$w/message"
}
cell_ordinary()
{
    for kind in p384 rsa; do
        use openssl dgst -sha256 -sign "$w/$kind.key" -out s "$w/message" && openssl pkey -in "$w/$kind.key" -pubout -out p &&
            openssl dgst -sha256 -verify p -signature s "$w/message" && use openssl dgst -sha256 -verify p -signature s "$w/message" || return 1
    done
    use openssl pkeyutl -sign -rawin -inkey "$w/ed.key" -in "$w/message" -out s &&
        openssl pkeyutl -verify -rawin -inkey "$w/ed.key" -in "$w/message" -sigfile s
}
