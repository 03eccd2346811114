/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The causes table: id, sentence, cure and class of everything that happens to a certificate.
 *
 * Ids are stable: scripts compare them and the registry stores them, so a cause may get a better
 * sentence but never another id. Where a command cures, the cure is that command with CERT_ID and
 * CLIENT_ID in the places that record.c fills from the record, and REGION, ACCOUNT and API_URL in
 * those that it fills with the cloud's own. Without the last one the aws program would talk to the
 * real service.
 */
#include "timeline/timeline.h"

#include <string.h>

#define AWS "`aws --endpoint-url API_URL "
#define CERT_ARN "arn:aws:iot:REGION:ACCOUNT:cert/CERT_ID"

static const struct cause_info causes[CAUSE_COUNT] = {
    /* stored by a newer program; the facts carry the id as it was written */
    [CAUSE_NONE] = { "unknown", "Something this version of the program has no words for.",
        "use the program version that wrote the record", CAUSE_CHANGE },

    [CAUSE_REGISTERED_JITR] = { "certificate.registered",
        "Registered just in time, and the connection dropped: it is let in once something has set "
        "the certificate ACTIVE.",
        "", CAUSE_CHANGE },
    [CAUSE_REGISTERED_API] = { "certificate.created", "Registered by an API call.", "",
        CAUSE_CHANGE },
    [CAUSE_STATUS_CHANGED] = { "certificate.status", "The status was set by an API call.", "",
        CAUSE_CHANGE },
    [CAUSE_CERTIFICATE_DELETED] = { "certificate.deleted", "The certificate was deleted.", "",
        CAUSE_CHANGE },
    [CAUSE_POLICY_ATTACHED] = { "policy.attached", "A policy was attached.", "", CAUSE_CHANGE },
    [CAUSE_POLICY_DETACHED] = { "policy.detached", "A policy was detached.", "", CAUSE_CHANGE },
    [CAUSE_CA_REGISTERED] = { "ca.registered", "The CA certificate was registered.", "",
        CAUSE_CHANGE },
    [CAUSE_CA_CHANGED] = { "ca.changed",
        "Status or auto-registration of the CA certificate was changed.", "", CAUSE_CHANGE },
    [CAUSE_CA_DELETED] = { "ca.deleted", "The CA certificate was deleted.", "", CAUSE_CHANGE },

    [CAUSE_EVENT_PUBLISHED] = { "event.published", "The registration event was published.", "",
        CAUSE_EFFECT },
    [CAUSE_RULE_MATCHED] = { "rule.matched", "A topic rule matched the message.", "",
        CAUSE_EFFECT },
    [CAUSE_RULE_FAILED] = { "rule.failed",
        "A topic rule matched, but its statement or an action failed.",
        "read the facts; " AWS "lambda get-policy --function-name NAME` shows whether the rule may "
        "invoke the function, " AWS "lambda add-permission` allows it",
        CAUSE_REFUSE },
    [CAUSE_FUNCTION_INVOKED] = { "function.invoked", "A function was started for it.", "",
        CAUSE_EFFECT },
    [CAUSE_FUNCTION_SUCCEEDED] = { "function.succeeded", "The function ended well.", "",
        CAUSE_EFFECT },
    [CAUSE_FUNCTION_FAILED] = { "function.failed", "The function ended with an error.",
        "read the function's error in the facts, mend the code and put it in place with " AWS
        "lambda update-function-code`; it is tried three times in all",
        CAUSE_REFUSE },

    [CAUSE_ADMITTED] = { "connect.admitted", "Connected: ACTIVE, and a policy allows it.", "",
        CAUSE_ACCEPT },
    [CAUSE_DISCONNECTED] = { "disconnect.client", "The connection ended.", "", CAUSE_END },
    [CAUSE_TAKEN_OVER] = { "disconnect.taken_over",
        "Disconnected: another connection uses the same client id.",
        "give each device a client id of its own", CAUSE_END },
    [CAUSE_PENDING] = { "connect.pending",
        "Refused: the certificate is registered but not yet activated; the event was sent again.",
        "a rule on the event should activate it; by hand: " AWS
        "iot update-certificate --certificate-id CERT_ID --new-status ACTIVE`",
        CAUSE_REFUSE },
    [CAUSE_INACTIVE] = { "connect.inactive", "Refused: the certificate is INACTIVE.",
        AWS "iot update-certificate --certificate-id CERT_ID --new-status ACTIVE`", CAUSE_REFUSE },
    [CAUSE_REVOKED] = { "connect.revoked", "Refused: the certificate is REVOKED, which is final.",
        "give the device another certificate", CAUSE_REFUSE },
    [CAUSE_CA_UNKNOWN] = { "connect.ca_unknown",
        "Refused: the certificate is unknown and no registered CA has the name of its issuer.",
        "register the CA that signed it: " AWS "iot register-ca-certificate --ca-certificate "
        "file://ca.pem --verification-cert file://verification.pem --set-as-active "
        "--allow-auto-registration`",
        CAUSE_REFUSE },
    [CAUSE_CA_INACTIVE] = { "connect.ca_inactive",
        "Refused: the certificate is unknown and the CA that signed it is INACTIVE.",
        AWS "iot update-ca-certificate --certificate-id CA_ID --new-status ACTIVE`, with the id "
            "from " AWS "iot list-ca-certificates`",
        CAUSE_REFUSE },
    [CAUSE_CA_NO_AUTO_REGISTRATION] = { "connect.ca_no_auto_registration",
        "Refused: the certificate is unknown and its CA does not register devices by itself.",
        AWS "iot update-ca-certificate --certificate-id CA_ID --new-auto-registration-status "
            "ENABLE`, with the id from " AWS "iot list-ca-certificates`",
        CAUSE_REFUSE },
    [CAUSE_CA_TEMPLATE] = { "connect.ca_template",
        "Refused: the certificate is unknown and its CA has a provisioning template "
        "(registrationConfig), which cannot be carried out here.",
        "remove the template, and let a rule on the registration event do its work: " AWS
        "iot update-ca-certificate --certificate-id CA_ID --remove-auto-registration`, with the id "
        "from " AWS "iot list-ca-certificates`",
        CAUSE_REFUSE },
    [CAUSE_SIGNATURE_WRONG] = { "connect.signature_wrong",
        "Refused: a registered CA has the issuer's name, but its key did not sign the certificate.",
        "sign the device certificate with the key of the registered CA; compare with `openssl "
        "verify -partial_chain -CAfile ca.pem device.pem`",
        CAUSE_REFUSE },
    [CAUSE_LEAF_EXPIRED] = { "connect.expired", "Refused: the certificate has expired.",
        "give the device a certificate that is valid today: `openssl x509 -noout -dates -in "
        "device.pem`",
        CAUSE_REFUSE },
    [CAUSE_LEAF_NOT_YET_VALID] = { "connect.not_yet_valid",
        "Refused: the certificate is not valid yet.",
        "compare the clocks of this machine and of the one that signed: `date -u`, `openssl x509 "
        "-noout -dates -in device.pem`",
        CAUSE_REFUSE },
    [CAUSE_LEAF_UNACCEPTABLE] = { "connect.certificate_unacceptable",
        "Refused: the certificate cannot be read, or its key or signature algorithm is too weak.",
        "use P-256, P-384, P-521 or RSA with 2048 bits or more, signed with SHA-256 or better; "
        "see `openssl x509 -noout -text -in device.pem`",
        CAUSE_REFUSE },
    [CAUSE_NO_CERTIFICATE] = { "connect.no_certificate", "Refused: the client sent no certificate.",
        "pass one: `mosquitto_pub --cert device.pem --key device.key ...`", CAUSE_REFUSE },
    [CAUSE_SNI_REQUIRED] = { "connect.sni_required",
        "Refused: the certificate or its CA is in mode SNI_ONLY, and the client asked for no "
        "server "
        "name of this endpoint.",
        "let the client send the endpoint's host name (SNI), which is what " AWS
        "iot describe-endpoint --endpoint-type iot:Data-ATS` prints",
        CAUSE_REFUSE },
    [CAUSE_NO_POLICY] = { "connect.no_policy",
        "Refused: the certificate is ACTIVE but has no policy attached.",
        AWS "iot attach-policy --policy-name NAME --target " CERT_ARN "`", CAUSE_REFUSE },
    [CAUSE_CONNECT_DENIED] = { "connect.denied",
        "Refused: no attached policy allows iot:Connect for this client id.",
        "connect with a client id that the policy names, or allow client/CLIENT_ID; the "
        "policies: " AWS "iot list-attached-policies --target " CERT_ARN "`",
        CAUSE_REFUSE },
    [CAUSE_PUBLISH_DENIED] = { "publish.denied",
        "Refused: no attached policy allows iot:Publish to this topic.",
        "publish to a topic that the policy names; the policies: " AWS
        "iot list-attached-policies --target " CERT_ARN "`",
        CAUSE_REFUSE },
    [CAUSE_SUBSCRIBE_DENIED] = { "subscribe.denied",
        "Refused: no attached policy allows iot:Subscribe to this topic filter.",
        "in a policy `a/#` is plain text of a topicfilter/ resource: allow topicfilter/a/*; the "
        "policies: " AWS "iot list-attached-policies --target " CERT_ARN "`",
        CAUSE_REFUSE },
    [CAUSE_RECEIVE_DENIED] = { "receive.denied",
        "Not delivered: no attached policy allows iot:Receive from this topic.",
        "allow iot:Receive on topic/ besides iot:Subscribe on topicfilter/; the policies: " AWS
        "iot list-attached-policies --target " CERT_ARN "`",
        CAUSE_REFUSE },
    [CAUSE_PROTOCOL] = { "mqtt.malformed",
        "Disconnected: the client sent what MQTT or this endpoint does not allow.",
        "the facts name the field; use MQTT 3.1.1 (`mosquitto_pub -V mqttv311`)", CAUSE_REFUSE },
    [CAUSE_QOS2] = { "mqtt.qos2", "Disconnected: QoS 2 is not supported.", "use QoS 0 or 1: `-q 1`",
        CAUSE_REFUSE },
    [CAUSE_TOO_LARGE] = { "mqtt.too_large",
        "Disconnected: a limit on the size of a message, topic or packet was passed.",
        "the facts name the limit; a payload has at most 128 KB, a topic 256 bytes and 7 slashes",
        CAUSE_REFUSE },
    [CAUSE_CONNECT_TIMEOUT] = { "connect.timeout",
        "Disconnected: TLS handshake or MQTT CONNECT did not finish in time.",
        "see whether the client waits for its key (chip busy?) or is no MQTT client",
        CAUSE_REFUSE },
    [CAUSE_KEEP_ALIVE] = { "disconnect.keep_alive",
        "Disconnected: nothing was heard for one and a half keep-alive periods.",
        "let the client send PINGREQ, or ask for a longer keep-alive: `mosquitto_sub -k 60`",
        CAUSE_END },
    [CAUSE_TLS] = { "tls.failed", "Refused: the TLS handshake failed.",
        "the facts have OpenSSL's words; try `openssl s_client -connect HOST:8883 -CAfile "
        "root-ca.pem -cert device.pem -key device.key`",
        CAUSE_REFUSE },
    [CAUSE_BROKER_DOWN] = { "cloud.broker_down",
        "Refused: the MQTT broker behind the endpoint does not answer.",
        "let the device try again, it was told so; the broker is started again by itself: see the "
        "log of `birthmark cloud`, and that `mosquitto` is installed; with --broker mqtt://... see "
        "that that broker runs and takes the user, and what the facts say of its certificate",
        CAUSE_REFUSE },
    [CAUSE_CONTROL_DOWN] = { "cloud.control_down",
        "Refused: the registry did not answer, so a newcomer cannot be judged, or a message not be "
        "stored for the rules.",
        "let the device try again, it was told so; see the log of `birthmark cloud` (disk full?)",
        CAUSE_REFUSE },
    [CAUSE_OUT_OF_MEMORY] = { "cloud.out_of_memory",
        "Refused: the endpoint has no memory left for the connection.",
        "let the device try again; give the machine more memory, or bound the connections: "
        "`birthmark cloud --limits` lists how",
        CAUSE_REFUSE },

    [CAUSE_DEVICE_CHIP] = { "device.chip",
        "The key cannot be used: the chip does not answer, or the file cannot be read.",
        "see that `a71chd` runs, or the wiring of the bus, and the address given with --chip or "
        "A71CH_ADDRESS; `a71chConfig ADDRESS info all` shows what the chip says",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_KEY] = { "device.key", "No certificate of this device fits its key.",
        "store the certificate that was issued for this key pair: `a71chConfig ADDRESS wcrt -x 0 "
        "-p device.pem`; compare with `openssl x509 -noout -pubkey -in device.pem`",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_CHAIN] = { "device.chain",
        "The issuer's certificate is missing beside the device's, so a newcomer cannot be "
        "registered everywhere.",
        "store the issuer too: `a71chConfig ADDRESS wcrt -x 1 -p ca.pem`, or append it to the "
        "certificate file, the device's own first",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_ALPN] = { "device.alpn", "The server does not take this connection for MQTT.",
        "AWS takes MQTT with a certificate on port 8883 without ALPN, and on port 443 with `--alpn "
        "x-amzn-mqtt-ca`",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_CLOCK] = { "device.clock", "The clock of this machine cannot be right.",
        "set it (`timedatectl set-ntp true`, or `date -u -s`), or let the device ask: --time-from "
        "URL",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_NAME_UNKNOWN] = { "device.name_unknown",
        "No address is known for the name of the server.",
        "compare the name with the endpoint (AWS: `describe-endpoint --endpoint-type "
        "iot:Data-ATS`); see that DNS works: `getent hosts NAME`",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_NO_NETWORK] = { "device.no_network", "The server cannot be reached.",
        "see that the network is up and that no firewall is before the port: `ip route`, `curl -v "
        "telnet://HOST:PORT`",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_NOBODY] = { "device.nobody_listens",
        "The machine answers, but no server listens on this port.",
        "start the cloud, or compare host and port with what `birthmark cloud` printed",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_NOT_TLS] = { "device.not_tls",
        "What answers on this port speaks no TLS: a captive portal, a proxy, or another service.",
        "log in to the network it belongs to, or correct host and port; `curl -v http://HOST:PORT` "
        "shows who it is",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_UNTRUSTED] = { "device.server_untrusted",
        "The server's certificate is not signed by an authority that this device trusts.",
        "if the server is the right one, pass its root as --cafile; if it is not, something "
        "between "
        "(a captive portal, a proxy) answers in its place",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_SERVER_NAME] = { "device.server_name",
        "The server's certificate is for another host name.",
        "connect to a name that the certificate has, or give that name with --server-name; "
        "`birthmark cloud --name NAME` adds one",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_SERVER_DATES] = { "device.server_dates",
        "The server's certificate is not valid at this device's time.",
        "compare both clocks; if the device's is right, the server needs a new certificate",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_TLS_REFUSED] = { "device.tls_refused",
        "The server refused this device's certificate in the TLS handshake.",
        "the alert says why; ask the cloud: `birthmark explain CERT_ID`, or give `birthmark "
        "doctor` "
        "credentials",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_TLS_FAILED] = { "device.tls_failed", "The TLS handshake failed.",
        "the facts have OpenSSL's words; try `openssl s_client -connect HOST:PORT -CAfile "
        "root-ca.pem`",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_NO_CONNACK] = { "device.no_connack",
        "The server took the CONNECT and then said nothing.",
        "see the server's log; the broker behind it may hang", CAUSE_REFUSE },
    [CAUSE_DEVICE_NO_PUBACK] = { "device.no_puback",
        "The server took a message and does not acknowledge it.",
        "on the server's side: does its broker run? The message is kept and sent again",
        CAUSE_END },
    [CAUSE_DEVICE_DROPPED] = { "device.dropped",
        "Dropped at CONNECT: a newcomer that has just been registered, or a certificate, CA or "
        "policy that does not let it in.",
        "a newcomer is let in once something has set its certificate ACTIVE and attached a policy; "
        "the cloud knows which it is: `birthmark explain CERT_ID`, or give `birthmark doctor` "
        "credentials",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_SHUT_OUT] = { "device.shut_out",
        "Dropped at CONNECT, although this certificate was let in before: it is INACTIVE or "
        "REVOKED "
        "now, or its policy was changed.",
        "ask the cloud: `birthmark explain CERT_ID`, or give `birthmark doctor` credentials",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_SLOW] = { "device.slow",
        "Dropped at CONNECT after a TLS handshake of many seconds: most likely the server had "
        "given "
        "up waiting.",
        "nothing is wrong with the certificate, let the device come again; if it stays so, see "
        "what "
        "is slow: this machine, its chip, the network or the server (`birthmark explain last` has "
        "connect.timeout there)",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_NOT_ALLOWED] = { "device.not_allowed",
        "The server says that this device is not allowed to connect.",
        "allow iot:Connect for this client id in a policy of the certificate; `birthmark explain "
        "CERT_ID` names what is missing",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_REFUSED] = { "device.refused", "The server refused the CONNECT packet.",
        "the facts have its reason; try another protocol level (--mqtt 3.1.1) or client id (--id)",
        CAUSE_REFUSE },
    [CAUSE_DEVICE_BUSY] = { "device.server_busy", "The server says that it cannot serve now.",
        "wait; if it stays so, see the server's log (is its broker up?)", CAUSE_REFUSE },
    [CAUSE_DEVICE_LOST] = { "device.lost", "The connection was lost.", "", CAUSE_END },
    [CAUSE_DEVICE_AT_PUBLISH] = { "device.dropped_at_publish",
        "The connection ends whenever this message is published.",
        "allow iot:Publish for its topic in a policy of the certificate, or keep to the limits of "
        "size and topic; `birthmark explain CERT_ID` names which it was",
        CAUSE_REFUSE },

    [CAUSE_CONNECT_RATE] = { "connect.throttled",
        "Refused: the device connects more often than the service allows.",
        "let it wait longer after each attempt, with some randomness; `birthmark cloud --limit "
        "connect-rate=N` allows more here",
        CAUSE_REFUSE },
    [CAUSE_REGISTER_RATE] = { "register.throttled",
        "Not registered: the account registers as many certificates a second as it may.",
        "let the device come again; `birthmark cloud --limit register-rate=N` allows more",
        CAUSE_REFUSE },
    [CAUSE_ADDRESS_CONNECTIONS] = { "connect.address_connections",
        "Refused: this IP address has as many connections open as it may.",
        "end some, or allow more with `birthmark cloud --limit address-connections=N`",
        CAUSE_REFUSE },
    [CAUSE_ADDRESS_HANDSHAKES] = { "connect.address_handshakes",
        "Refused: this IP address has as many TLS handshakes under way as it may.",
        "let the devices behind it connect one after another, or allow more with `birthmark cloud "
        "--limit address-handshakes=N`",
        CAUSE_REFUSE },
    [CAUSE_PUBLISH_RATE] = { "mqtt.rate",
        "Discarded or delayed: more messages in a second than a connection may have.",
        "publish less often; `birthmark cloud --limit publish-rate=N` allows more here",
        CAUSE_REFUSE },
    [CAUSE_THROUGHPUT] = { "mqtt.throughput",
        "Delayed: more bytes in a second than a connection may have.",
        "send less or smaller messages; `birthmark cloud --limit throughput=N` allows more here",
        CAUSE_REFUSE },
    [CAUSE_IN_FLIGHT] = { "mqtt.in_flight",
        "Disconnected: more QoS 1 messages without acknowledgement than the receive maximum.",
        "let the client heed Receive Maximum of CONNACK: `mosquitto_pub -V mqttv5` does",
        CAUSE_REFUSE },
    [CAUSE_SUBSCRIPTIONS] = { "mqtt.subscriptions",
        "Disconnected: more subscriptions than a connection may have.",
        "subscribe to fewer filters, with wildcards; `birthmark cloud --limit subscriptions=N` "
        "allows more here",
        CAUSE_REFUSE },
    [CAUSE_SLOW] = { "mqtt.slow",
        "Discarded or disconnected: the client takes less than comes for it.",
        "let it read without pause and subscribe to less; what is not to be lost needs QoS 1; "
        "`birthmark cloud --limit behind-ms=N` waits longer, `publish-rate` and `throughput` are "
        "the rates",
        CAUSE_REFUSE },
};

const struct cause_info *
cause_info(enum cause c)
{
    return &causes[(unsigned)c < CAUSE_COUNT ? c : CAUSE_NONE];
}

bool
cause_by_id(const char *id, enum cause *out)
{
    for (unsigned c = CAUSE_NONE + 1; c < CAUSE_COUNT; c++) {
        if (strcmp(causes[c].id, id) == 0) {
            *out = (enum cause)c;
            return true;
        }
    }
    return false;
}
