/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `birthmark device` and `birthmark doctor`, from the command line and from files.
 */
#include "birthmark/device.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: birthmark device publish   -h HOST --cafile FILE [KEY] -t TOPIC -m TEXT [OPTION...]\n"
    "       birthmark device subscribe -h HOST --cafile FILE [KEY] -t FILTER [OPTION...]\n"
    "       birthmark device run       -h HOST --cafile FILE [KEY] [OPTION...]   as a service\n"
    "       birthmark device put       --state DIR -t TOPIC -m TEXT   into the queue of run\n"
    "       birthmark device queue     --state DIR [--refused | --retry-refused]\n"
    "       birthmark device renew     [KEY] --state DIR --renew-command LINE | --renew-url URL\n"
    "       birthmark doctor           -h HOST --cafile FILE [KEY] [--cloud API_URL] [-i ID] [-t "
    "TOPIC] "
    "[-s FILTER]\n"
    "\n"
    "doctor connects nothing; it says, layer by layer, what will go wrong; with --cloud and the "
    "credentials of the\n"
    "aws CLI also whether the cloud knows certificate or issuer, and what its policies allow.\n"
    "\n"
    "Connects a device with its key in an A71CH (KEY: --chip ADDRESS --slot N; default: the chip "
    "of "
    "A71CH_ADDRESS)\n"
    "or in a file (KEY: --key FILE --cert FILE), and tries again until it is let in.\n"
    "\n"
    "  -h, --host HOST      name or address of the endpoint\n"
    "  -p, --port N         default 8883\n"
    "  --cafile FILE        root of the server's certificate (default: the system's)\n"
    "  --server-name NAME   expect and ask for this name instead of HOST\n"
    "  --alpn NAME          x-amzn-mqtt-ca for AWS on port 443\n"
    "  --chip ADDRESS       HOST:PORT, unix:PATH, i2c:DEVICE or sim:DIR\n"
    "  --slot N[,N...]      key pair 0 to 3, default 0; of several the one with the newest "
    "certificate\n"
    "  --key FILE, --cert FILE   PEM; the certificate file holds the issuers, too, in any order\n"
    "  -i, --id ID          MQTT client id (default: common name of the certificate)\n"
    "  -k, --keep-alive S   default 60\n"
    "  --ack-timeout S      connect anew when no message is acknowledged for so long, default 60\n"
    "  --mqtt 5|3.1.1       default 5, which says more about refusals\n"
    "  -c, --keep-session   ask for a persistent session\n"
    "\n"
    "  -t, --topic TOPIC    topic or filter; subscribe takes several\n"
    "  -m, --message TEXT, -f, --file FILE, -n, --null-message, -l, --lines   what to publish; -l: "
    "each line of stdin\n"
    "  -q, --qos 0|1        default 1\n"
    "  -r, --retain\n"
    "  -C, --count N        end after N messages\n"
    "  -W, --window S       end after S seconds\n"
    "  -v, --verbose        print topics, too\n"
    "\n"
    "  --explain            print what an attempt sees at each layer, from the chip to CONNACK\n"
    "  --config FILE        options, one a line, without their dashes\n"
    "  --json, --quiet, --help, --version\n"
    "\n";

static const char usage_more[] =
    "  run sends from a queue on disk, in which each message stays until it is acknowledged:\n"
    "  -l, --lines          each line of stdin, to --topic, or, without it, TOPIC and message\n"
    "  --input PIPE         lines from a named pipe\n"
    "  --command LINE, --every S   lines that this shell command prints every S seconds\n"
    "  -s, --subscribe FILTER   print what comes\n"
    "  --max-messages N, --max-bytes N   of the queue, default 10000 and 67108864\n"
    "  --drop oldest|newest what to do when it is full, default oldest\n"
    "  --ack                print `stored N` when the first N lines are safe on disk\n"
    "  --until-empty        end when all input has been sent\n"
    "\n"
    "  renew asks for the next certificate when the newest one ends soon, and puts it beside that; "
    "run does so, too:\n"
    "  --renew-before DAYS  before its end, default 30\n"
    "  --renew-command LINE this shell command reads the request (PEM) and prints the certificate "
    "and its issuer\n"
    "  --renew-url URL      or POST the request there, with the certificate in use for TLS\n"
    "  --new-key            make a new key in another of the --slot list\n"
    "  --force              however long the newest one lasts\n"
    "\n"
    "  --timeout S          give up after S seconds without success (default: publish 60, others "
    "never: 0)\n"
    "  --once               do not try again\n"
    "  --state DIR          remember between runs what was let in and what time it was; the queue\n"
    "                       (default for run, put and queue: ~/.local/state/birthmark-device)\n"
    "  --time-from URL      ask this web server for the date when the clock cannot be right\n"
    "  --clock TIME         take TIME for what the system's clock says now (2026-11-23T09:00:00Z)\n"
    "\n"
    "Exit status by cause: 10 chip or key, 11 certificate, 12 clock, 13 network, 14 no TLS, 15 "
    "server's certificate,\n"
    "16 TLS, 17 dropped at CONNECT, 18 refused, 19 server busy, 20 connection lost, 21 message "
    "refused, 22 queue full, 23 no new certificate.\n";

enum { CONFIG_MAX = 65536, ARGS_MAX = 512 };

enum {
    OPT_CAFILE = 256,
    OPT_SERVER_NAME,
    OPT_ALPN,
    OPT_CHIP,
    OPT_SLOT,
    OPT_KEY,
    OPT_CERT,
    OPT_MQTT,
    OPT_TIMEOUT,
    OPT_ONCE,
    OPT_STATE,
    OPT_TIME_FROM,
    OPT_CLOCK,
    OPT_CONFIG,
    OPT_JSON,
    OPT_QUIET,
    OPT_SEED,
    OPT_HELP,
    OPT_VERSION,
    OPT_INPUT,
    OPT_COMMAND,
    OPT_EVERY,
    OPT_MAX_MESSAGES,
    OPT_MAX_BYTES,
    OPT_DROP,
    OPT_ACK,
    OPT_UNTIL_EMPTY,
    OPT_REFUSED,
    OPT_RETRY_REFUSED,
    OPT_CLOUD,
    OPT_RENEW_BEFORE,
    OPT_RENEW_COMMAND,
    OPT_RENEW_URL,
    OPT_NEW_KEY,
    OPT_FORCE,
    OPT_EXPLAIN,
    OPT_ACK_TIMEOUT,
};

static const struct option options[] = {
    { "host", required_argument, NULL, 'h' },
    { "port", required_argument, NULL, 'p' },
    { "cafile", required_argument, NULL, OPT_CAFILE },
    { "server-name", required_argument, NULL, OPT_SERVER_NAME },
    { "alpn", required_argument, NULL, OPT_ALPN },
    { "chip", required_argument, NULL, OPT_CHIP },
    { "slot", required_argument, NULL, OPT_SLOT },
    { "key", required_argument, NULL, OPT_KEY },
    { "cert", required_argument, NULL, OPT_CERT },
    { "id", required_argument, NULL, 'i' },
    { "keep-alive", required_argument, NULL, 'k' },
    { "mqtt", required_argument, NULL, OPT_MQTT },
    { "keep-session", no_argument, NULL, 'c' },
    { "topic", required_argument, NULL, 't' },
    { "message", required_argument, NULL, 'm' },
    { "file", required_argument, NULL, 'f' },
    { "null-message", no_argument, NULL, 'n' },
    { "lines", no_argument, NULL, 'l' },
    { "qos", required_argument, NULL, 'q' },
    { "retain", no_argument, NULL, 'r' },
    { "count", required_argument, NULL, 'C' },
    { "window", required_argument, NULL, 'W' },
    { "verbose", no_argument, NULL, 'v' },
    { "timeout", required_argument, NULL, OPT_TIMEOUT },
    { "once", no_argument, NULL, OPT_ONCE },
    { "state", required_argument, NULL, OPT_STATE },
    { "time-from", required_argument, NULL, OPT_TIME_FROM },
    { "clock", required_argument, NULL, OPT_CLOCK },
    { "config", required_argument, NULL, OPT_CONFIG },
    { "json", no_argument, NULL, OPT_JSON },
    { "quiet", no_argument, NULL, OPT_QUIET },
    { "seed", required_argument, NULL, OPT_SEED },
    { "subscribe", required_argument, NULL, 's' },
    { "input", required_argument, NULL, OPT_INPUT },
    { "command", required_argument, NULL, OPT_COMMAND },
    { "every", required_argument, NULL, OPT_EVERY },
    { "max-messages", required_argument, NULL, OPT_MAX_MESSAGES },
    { "max-bytes", required_argument, NULL, OPT_MAX_BYTES },
    { "drop", required_argument, NULL, OPT_DROP },
    { "ack", no_argument, NULL, OPT_ACK },
    { "until-empty", no_argument, NULL, OPT_UNTIL_EMPTY },
    { "cloud", required_argument, NULL, OPT_CLOUD },
    { "renew-before", required_argument, NULL, OPT_RENEW_BEFORE },
    { "renew-command", required_argument, NULL, OPT_RENEW_COMMAND },
    { "renew-url", required_argument, NULL, OPT_RENEW_URL },
    { "new-key", no_argument, NULL, OPT_NEW_KEY },
    { "force", no_argument, NULL, OPT_FORCE },
    { "ack-timeout", required_argument, NULL, OPT_ACK_TIMEOUT },
    { "explain", no_argument, NULL, OPT_EXPLAIN },
    { "refused", no_argument, NULL, OPT_REFUSED },
    { "retry-refused", no_argument, NULL, OPT_RETRY_REFUSED },
    { "help", no_argument, NULL, OPT_HELP },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 },
};

static int
wants(const char *name, const char *what)
{
    return cmd_misuse("device", "--%s wants %s, not '%s'", name, what, optarg);
}

/* "0", "0,1": the first one, and the others as bits. */
static bool
take_slots(struct identity_options *id, const char *text)
{
    bool first = true;

    id->more_slots = 0;
    for (;; text++) {
        if (*text < '0' || *text > '3')
            return false;
        if (first)
            id->slot = (unsigned)(*text - '0');
        else
            id->more_slots |= 1u << (*text - '0');
        first = false;
        if (*++text == '\0')
            return true;
        if (*text != ',')
            return false;
    }
}

static int
take_identity(struct device_options *o, int opt)
{
    struct identity_options *id = &o->client.identity;

    switch (opt) {
    case OPT_CHIP:
        id->chip = true;
        id->address = optarg;
        return CMD_GO_ON;
    case OPT_SLOT:
        return take_slots(id, optarg) ? CMD_GO_ON : wants("slot", "0 to 3, or several: 0,1");
    case OPT_KEY:
        id->key_file = optarg;
        return CMD_GO_ON;
    case OPT_CERT:
        id->cert_file = optarg;
        return CMD_GO_ON;
    }
    return 0;
}

static int
take_connection(struct device_options *o, int opt)
{
    struct connection_options *c = &o->client.connection;
    int64_t ms;
    long n;

    switch (opt) {
    case 'h':
        c->host = optarg;
        return CMD_GO_ON;
    case 'p':
        if (!cmd_number(optarg, 1, 65535, &n))
            return wants("port", "1 to 65535");
        c->port = (uint16_t)n;
        return CMD_GO_ON;
    case 'i':
        if (strlen(optarg) > 128)
            return wants("id", "up to 128 bytes");
        c->client_id = optarg;
        return CMD_GO_ON;
    case 'k':
        if (!cmd_number(optarg, 5, 65535, &n))
            return wants("keep-alive", "5 to 65535 seconds");
        c->keep_alive_s = (unsigned)n;
        return CMD_GO_ON;
    case OPT_ACK_TIMEOUT:
        if (!cmd_number(optarg, 1, 86400, &n))
            return wants("ack-timeout", "seconds from 1 on");
        c->ack_ms = (unsigned)n * 1000;
        return CMD_GO_ON;
    case 'c':
        c->keep_session = true;
        return CMD_GO_ON;
    case OPT_MQTT:
        if (strcmp(optarg, "5") != 0 && strcmp(optarg, "3.1.1") != 0)
            return wants("mqtt", "5 or 3.1.1");
        c->mqtt5 = optarg[0] == '5';
        return CMD_GO_ON;
    case OPT_CAFILE:
        o->client.tls.ca_file = optarg;
        return CMD_GO_ON;
    case OPT_SERVER_NAME:
        o->client.tls.server_name = optarg;
        return CMD_GO_ON;
    case OPT_ALPN:
        o->client.tls.alpn = optarg;
        return CMD_GO_ON;
    case OPT_TIME_FROM:
        o->client.time_from = optarg;
        return CMD_GO_ON;
    case OPT_CLOCK:
        if (!clock_parse(optarg, &ms))
            return wants("clock", "a time like 2026-11-23T09:00:00Z");
        o->client.clock_offset_ms = ms - clock_wall_ms();
        return CMD_GO_ON;
    case OPT_SEED:
        if (!cmd_number(optarg, 1, 0x7fffffff, &n))
            return wants("seed", "a number from 1 on");
        o->client.seed = (uint64_t)n;
        return CMD_GO_ON;
    case OPT_ONCE:
        o->client.once = true;
        return CMD_GO_ON;
    case OPT_STATE:
        if (snprintf(o->state, sizeof o->state, "%s", optarg) >= (int)sizeof o->state)
            return cmd_misuse("device", "--state is too long");
        return CMD_GO_ON;
    }
    return 0;
}

static int
take_message(struct device_options *o, int opt)
{
    long n;

    switch (opt) {
    case 't':
        if (o->topic_count == DEVICE_TOPICS_MAX)
            return cmd_misuse("device", "at most %d topics", DEVICE_TOPICS_MAX);
        o->topics[o->topic_count++] = optarg;
        return CMD_GO_ON;
    case 'm':
        o->message = optarg;
        return CMD_GO_ON;
    case 'f':
        o->file = optarg;
        return CMD_GO_ON;
    case 'n':
        o->null_message = true;
        return CMD_GO_ON;
    case 'l':
        o->lines = true;
        return CMD_GO_ON;
    case 'q':
        if (!cmd_number(optarg, 0, 1, &n))
            return wants("qos", "0 or 1");
        o->qos = (int)n;
        return CMD_GO_ON;
    case 'r':
        o->retain = true;
        return CMD_GO_ON;
    case 'v':
        o->verbose = true;
        return CMD_GO_ON;
    case 'C':
        return cmd_number(optarg, 1, 0x7fffffff, &o->count) ? CMD_GO_ON
                                                        : wants("count", "a number from 1 on");
    case 'W':
        return cmd_number(optarg, 1, 0x7fffffff, &o->window_s) ? CMD_GO_ON
                                                           : wants("window", "seconds from 1 on");
    case OPT_TIMEOUT:
        return cmd_number(optarg, 0, 0x7fffffff, &o->timeout_s) ? CMD_GO_ON
                                                            : wants("timeout", "seconds");
    case OPT_JSON:
        o->json = true;
        return CMD_GO_ON;
    case OPT_EXPLAIN:
        o->explain = true;
        return CMD_GO_ON;
    case OPT_QUIET:
        o->quiet = true;
        return CMD_GO_ON;
    }
    return 0;
}

static int
take_queue(struct device_options *o, int opt)
{
    long n;

    switch (opt) {
    case 's':
        if (o->filter_count == DEVICE_TOPICS_MAX)
            return cmd_misuse("device", "at most %d filters", DEVICE_TOPICS_MAX);
        o->filters[o->filter_count++] = optarg;
        return CMD_GO_ON;
    case OPT_INPUT:
        o->input = optarg;
        return CMD_GO_ON;
    case OPT_COMMAND:
        o->command = optarg;
        return CMD_GO_ON;
    case OPT_EVERY:
        return cmd_number(optarg, 1, 0x7fffffff, &o->every_s) ? CMD_GO_ON : wants("every", "seconds");
    case OPT_MAX_MESSAGES:
        if (!cmd_number(optarg, 1, 0x7fffffff, &n))
            return wants("max-messages", "a number from 1 on");
        o->queue.max_count = (uint64_t)n;
        return CMD_GO_ON;
    case OPT_MAX_BYTES:
        if (!cmd_number(optarg, 1, LONG_MAX / 2, &n))
            return wants("max-bytes", "a number from 1 on");
        o->queue.max_bytes = (uint64_t)n;
        return CMD_GO_ON;
    case OPT_DROP:
        if (strcmp(optarg, "oldest") != 0 && strcmp(optarg, "newest") != 0)
            return wants("drop", "oldest or newest");
        o->queue.drop_newest = optarg[0] == 'n';
        return CMD_GO_ON;
    case OPT_ACK:
        o->ack = true;
        return CMD_GO_ON;
    case OPT_UNTIL_EMPTY:
        o->until_empty = true;
        return CMD_GO_ON;
    case OPT_REFUSED:
        o->refused = true;
        return CMD_GO_ON;
    case OPT_CLOUD:
        o->cloud = optarg;
        return CMD_GO_ON;
    case OPT_RETRY_REFUSED:
        o->retry_refused = true;
        return CMD_GO_ON;
    }
    return 0;
}

static int
take_renewal(struct device_options *o, int opt)
{
    switch (opt) {
    case OPT_RENEW_BEFORE:
        return cmd_number(optarg, 1, 36500, &o->renew_before) ? CMD_GO_ON
                                                          : wants("renew-before", "days from 1 on");
    case OPT_RENEW_COMMAND:
        o->renew_command = optarg;
        return CMD_GO_ON;
    case OPT_RENEW_URL:
        o->renew_url = optarg;
        return CMD_GO_ON;
    case OPT_NEW_KEY:
        o->new_key = true;
        return CMD_GO_ON;
    case OPT_FORCE:
        o->force = true;
        return CMD_GO_ON;
    }
    return 0;
}

static int parse(int argc, char **argv, struct device_options *o, int depth);

/* Each line is an option without its dashes and, behind the first blank, its value. */
static int
take_config(const char *path, struct device_options *o, int depth)
{
    struct buf text = { 0 };
    struct bm_msg msg = { { 0 } };
    char **args = calloc(ARGS_MAX, sizeof *args);
    int saved = optind;
    int count = 0;
    int end = CMD_GO_ON;
    char *line;

    if (depth > 0 || args == NULL || o->config != NULL)
        end = cmd_misuse("device", "there is one file of --config, which names no other");
    else if (file_read(path, CONFIG_MAX, &text, &msg) != BM_OK)
        end = cmd_misuse("device", "--config: %s", msg.text);
    line = end == CMD_GO_ON ? buf_cstr(&text) : NULL;
    if (end == CMD_GO_ON)
        args[count++] = strdup("device");
    while (line != NULL && *line != '\0' && count + 2 < ARGS_MAX) {
        char *next = strchr(line, '\n');
        size_t len = next != NULL ? (size_t)(next - line) : strlen(line);
        size_t word = strcspn(line, " \t\n");
        char *option;

        while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
            len--;
        if (len > 0 && line[0] != '#' && (option = malloc(len + 3)) != NULL) {
            if (word > len)
                word = len;
            (void)snprintf(option, len + 3, "--%.*s", (int)word, line);
            while (word < len && (line[word] == ' ' || line[word] == '\t'))
                word++;
            args[count++] = option; /* the options borrow from it */
            if (word < len)
                args[count++] = strndup(&line[word], len - word);
        }
        line = next != NULL ? next + 1 : NULL;
    }
    if (args != NULL && o->config == NULL) {
        o->config = args;
        o->config_count = count;
    } else {
        free(args);
    }
    if (end == CMD_GO_ON) {
        optind = 0;
        end = parse(count, args, o, depth + 1);
        if (end == CMD_GO_ON && optind < count)
            end = cmd_misuse("device", "%s: '%s' is no option", path, args[optind]);
        optind = saved;
    }
    buf_fini(&text);
    return end;
}

static int
parse(int argc, char **argv, struct device_options *o, int depth)
{
    int end = CMD_GO_ON;
    int opt;

    while (end == CMD_GO_ON &&
           (opt = getopt_long(argc, argv, "h:p:i:k:ct:m:f:nlq:rC:W:vs:", options, NULL)) != -1) {
        switch (opt) {
        case OPT_CONFIG:
            end = take_config(optarg, o, depth);
            break;
        case OPT_HELP:
            fputs(usage, stdout);
            fputs(usage_more, stdout);
            return EXIT_DONE;
        case OPT_VERSION:
            return cmd_version(1, NULL);
        case '?':
            return EXIT_USAGE;
        default:
            end = take_identity(o, opt);
            if (end == 0)
                end = take_connection(o, opt);
            if (end == 0)
                end = take_message(o, opt);
            if (end == 0)
                end = take_queue(o, opt);
            if (end == 0)
                end = take_renewal(o, opt);
        }
    }
    return end;
}

int
device_options_parse(int argc, char **argv, struct device_options *o)
{
    struct identity_options *id = &o->client.identity;
    int end;

    o->qos = 1;
    o->timeout_s = -1;
    o->renew_before = -1;
    o->client.connection.mqtt5 = true;
    o->client.connection.port = 8883;
    end = parse(argc, argv, o, 0);
    if (end != CMD_GO_ON)
        return end;
    if (optind < argc)
        return cmd_misuse("device", "'%s' is not expected", argv[optind]);
    if (!o->local && o->client.connection.host == NULL)
        return cmd_misuse("device", "where to? give --host (and --port)");
    if (id->key_file != NULL && id->chip && id->cert_file == NULL)
        return cmd_misuse("device", "a key is in a chip or in a file: --chip or --key, not both");
    if (o->renew_command != NULL && o->renew_url != NULL)
        return cmd_misuse("device", "who issues certificates? --renew-command or --renew-url");
    if (id->key_file == NULL)
        id->chip = true;
    else if (id->cert_file == NULL)
        return cmd_misuse("device", "--key wants the certificate, too: --cert FILE");
    else
        id->chip = false;
    if (o->state[0] == '\0' && getenv("STATE_DIRECTORY") != NULL)
        (void)snprintf(o->state, sizeof o->state, "%s", getenv("STATE_DIRECTORY"));
    if (o->state[0] != '\0')
        o->client.state_dir = o->state;
    return CMD_GO_ON;
}

void
device_options_fini(struct device_options *o)
{
    for (int i = 0; i < o->config_count; i++)
        free(o->config[i]);
    free(o->config);
}

bool
device_state_needed(struct device_options *o)
{
    static const struct {
        const char *variable;
        const char *below;
    } places[] = { { "XDG_STATE_HOME", "" }, { "HOME", "/.local/state" } };

    for (size_t i = 0; o->state[0] == '\0' && i < sizeof places / sizeof *places; i++) {
        const char *base = getenv(places[i].variable);

        if (base != NULL && *base != '\0' &&
            snprintf(o->state, sizeof o->state, "%s%s/birthmark-device", base, places[i].below) >=
                (int)sizeof o->state)
            o->state[0] = '\0';
    }
    if (o->state[0] == '\0') {
        (void)cmd_misuse("device", "where is the queue? give --state DIR");
        return false;
    }
    o->client.state_dir = o->state;
    o->queue.dir = o->state;
    return true;
}
