/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See check.h.
 *
 * The failure it hunts is silent: with the provider misplaced, OpenSSL takes the number in a
 * reference file for a private key, signs with it, and all looks well until the far side says "bad
 * signature". So the check goes the way of a real program, in one process: random bytes and an
 * SSL_CTX first (both make OpenSSL sort and remember its providers), then the key, then a
 * signature, which is verified with the file's public key in a library context of its own. Only
 * afterwards does it look for reasons.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* engines are, and must be asked about here */
#include "openssl/check/check.h"

#include "base/bytes.h"
#include "base/file.h"
#include "openssl/provider/provider.h"

#include <dlfcn.h>
#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/conf.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_FILE_MAX = 65536, TEXT_MAX = 1024 };

struct check {
    const struct check_options *o;
    json_t *steps; /* what went well: { "name", "detail" } */
    char cause[TEXT_MAX];
    char cure[TEXT_MAX];
    char conf_path[TEXT_MAX];
    struct refkey ref;
    SSL_CTX *ssl;
    EVP_PKEY *pkey;
    OSSL_LIB_CTX *apart;           /* the default provider, untouched by the configuration */
    const OSSL_PROVIDER *provider; /* NULL: the engine does it */
};

static void __attribute__((format(printf, 3, 4)))
passed(struct check *c, const char *name, const char *fmt, ...)
{
    char detail[TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    (void)json_array_append_new(c->steps, json_pack("{s:s,s:s}", "name", name, "detail", detail));
    if (!c->o->json)
        (void)fprintf(c->o->out, "ok  %-13s %s\n", name, detail);
}

static enum check_verdict __attribute__((format(printf, 4, 5)))
blame(struct check *c, enum check_verdict verdict, const char *cure, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(c->cause, sizeof c->cause, fmt, ap);
    va_end(ap);
    (void)snprintf(c->cure, sizeof c->cure, "%s", cure);
    return verdict;
}

/* The oldest error of the queue in words, its data included; empties the queue. */
static const char *
take_error(char out[TEXT_MAX])
{
    const char *data = NULL;
    int flags = 0;
    unsigned long e = ERR_peek_error_all(NULL, NULL, NULL, &data, &flags);
    const char *reason = ERR_reason_error_string(e);

    (void)snprintf(out, TEXT_MAX, "%s%s%s", reason != NULL ? reason : "no reason given",
        (flags & ERR_TXT_STRING) != 0 && data[0] != '\0' ? ": " : "",
        (flags & ERR_TXT_STRING) != 0 ? data : "");
    ERR_clear_error();
    return out;
}

/* --- the way of a program ------------------------------------------------------------------- */

static enum check_verdict
begin_like_a_program(struct check *c)
{
    unsigned char random[16];
    char why[TEXT_MAX];

    if (RAND_bytes(random, sizeof random) == 1)
        c->ssl = SSL_CTX_new(TLS_method());
    /* sorts the providers by name, as any random byte does from OpenSSL 3.5 on */
    (void)OSSL_PROVIDER_available(NULL, "default");
    if (c->ssl == NULL)
        return blame(c, CHECK_CONFIGURATION,
            "activate the default provider too: a section with `activate = 1` for `default`, as "
            "a71chConfig openssl setup "
            "writes it",
            "with %s OpenSSL cannot even draw random bytes and prepare TLS (%s)", c->conf_path,
            take_error(why));
    return CHECK_FINE;
}

/* The section that the configuration file gives the provider, or NULL. */
static const char *
section_of_provider(CONF *conf)
{
    const char *init = NCONF_get_string(conf, NULL, "openssl_conf");
    const char *list = init != NULL ? NCONF_get_string(conf, init, "providers") : NULL;

    return list != NULL ? NCONF_get_string(conf, list, PROV_NAME) : NULL;
}

/* OpenSSL passes over a provider that does not load, so the file is read again here. */
static enum check_verdict
why_missing(struct check *c)
{
    static const char cure[] = "write one: a71chConfig openssl setup; then set OPENSSL_CONF to it";
    CONF *conf = NCONF_new(NULL);
    enum check_verdict v = CHECK_PROVIDER_MISSING;
    const char *section = NULL;
    const char *module = NULL;
    void *handle = NULL;
    char why[TEXT_MAX];

    ERR_clear_error();
    if (conf == NULL || NCONF_load(conf, c->conf_path, NULL) != 1) {
        v = blame(c, v, cure, "%s cannot be read: %s", c->conf_path, take_error(why));
        goto out;
    }
    section = section_of_provider(conf);
    module = section != NULL ? NCONF_get_string(conf, section, "module") : NULL;
    if (section == NULL)
        v = blame(c, v, cure, "no " PROV_NAME " is loaded: %s does not ask for it", c->conf_path);
    else if (NCONF_get_string(conf, section, "activate") == NULL)
        v = blame(c, v, "add `activate = 1` to that section",
            "section [%s] of %s does not activate it", section, c->conf_path);
    else if (module != NULL && (handle = dlopen(module, RTLD_NOW | RTLD_LOCAL)) == NULL)
        v = blame(c, v, "correct the line `module =`, or install the module there", "%s: %s",
            c->conf_path, dlerror());
    else
        v = blame(
            c, v, cure, "%s asks for " PROV_NAME ", but OpenSSL did not load it", c->conf_path);
out:
    if (handle != NULL)
        (void)dlclose(handle);
    NCONF_free(conf);
    return v;
}

struct search {
    const OSSL_PROVIDER *found;
    const char *version;
};

/* Ours is known by a parameter that no other provider has, whatever it is called. */
static int
look_at_provider(OSSL_PROVIDER *provider, void *arg)
{
    struct search *s = arg;
    const char *warning = NULL;
    const char *version = "?";
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr(PROV_PARAM_WARNING, &warning, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, &version, 0),
        OSSL_PARAM_END,
    };

    if (OSSL_PROVIDER_get_params(provider, params) == 1 && warning != NULL) {
        s->found = provider;
        s->version = version;
    }
    return 1;
}

/* Does our engine make the EC keys of this process? */
static bool
engine_is_active(void)
{
#ifdef OPENSSL_NO_ENGINE
    return false;
#else
    ENGINE *e = ENGINE_get_default_EC();
    bool ours = e != NULL && strcmp(ENGINE_get_id(e), PROV_NAME) == 0;

    (void)ENGINE_finish(e);
    return ours;
#endif
}

static enum check_verdict
find_provider(struct check *c)
{
    struct search s = { 0 };
    bool engine = engine_is_active();

    (void)OSSL_PROVIDER_do_all(NULL, look_at_provider, &s);
    c->provider = s.found;
    if (s.found != NULL && engine)
        return blame(c, CHECK_CONFIGURATION, "take one of the two out of the configuration",
            "%s loads the provider and the engine; programs then crash that work with one of them",
            c->conf_path);
    if (s.found != NULL)
        passed(c, "provider", "%s %s, from %s", OSSL_PROVIDER_get0_name(s.found), s.version,
            c->conf_path);
    else if (engine)
        passed(c, "engine", PROV_NAME ", from %s", c->conf_path);
    else
        return why_missing(c);
    return CHECK_FINE;
}

static enum check_verdict
read_reference(struct check *c)
{
    struct buf file = { 0 };
    struct bm_msg msg = { "" };
    unsigned char *der = NULL;
    char *label = NULL;
    char *header = NULL;
    long len = 0;
    BIO *bio;
    enum bm_err err = file_read(c->o->key_path, KEY_FILE_MAX, &file, &msg);

    if (err != BM_OK) {
        buf_fini(&file);
        return blame(c, CHECK_NOT_A_REFERENCE, "give the file that a71chConfig refpem wrote", "%s",
            msg.text);
    }
    bio = BIO_new_mem_buf(file.ptr, (int)file.len);
    err = BM_ERR_INPUT;
    while (err == BM_ERR_INPUT && PEM_read_bio(bio, &label, &header, &der, &len) == 1) {
        err = refkey_parse_sec1(span_of(der, (size_t)len), &c->ref);
        if (err == BM_ERR_INPUT)
            err = refkey_parse_pkcs8(span_of(der, (size_t)len), &c->ref);
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)len);
    }
    BIO_free(bio);
    bm_wipe(file.ptr, file.len);
    buf_fini(&file);
    ERR_clear_error();
    if (err == BM_ERR_NOT_FOUND)
        return blame(c, CHECK_NOT_A_REFERENCE, "give the file that a71chConfig refpem wrote",
            "%s is an ordinary private key, no reference to the chip", c->o->key_path);
    if (err != BM_OK || !c->ref.has_point)
        return blame(c, CHECK_NOT_A_REFERENCE, "give the file that a71chConfig refpem wrote",
            "%s holds no PEM private key with an uncompressed public key", c->o->key_path);
    if (refkey_names_slot(&c->ref) &&
        (c->ref.class_id != REFKEY_CLASS_PAIR || c->ref.index >= A71CH_PAIR_COUNT))
        return blame(c, CHECK_NOT_A_REFERENCE,
            "write a reference to a key pair: a71chConfig refpem -c 10",
            "%s refers to class %02x, slot %u; only key pairs (class 10, slots 0 to %d) can sign",
            c->o->key_path, c->ref.class_id, c->ref.index, A71CH_PAIR_COUNT - 1);
    if (refkey_names_slot(&c->ref))
        passed(c, "key file", "%s refers to key pair %u", c->o->key_path, c->ref.index);
    else
        passed(c, "key file", "%s refers to key id %08x of NXP's SSS middleware", c->o->key_path,
            c->ref.key_id);
    return CHECK_FINE;
}

static enum check_verdict
load_key(struct check *c)
{
    BIO *bio = BIO_new_file(c->o->key_path, "r");
    char why[TEXT_MAX];

    c->pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (c->pkey == NULL || SSL_CTX_use_PrivateKey(c->ssl, c->pkey) != 1)
        return blame(c, CHECK_KEY_REFUSED, "write the file again with a71chConfig refpem",
            "OpenSSL does not take %s as a key: %s", c->o->key_path, take_error(why));
    passed(c, "key", "taken by the provider %s",
        OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(c->pkey)));
    return CHECK_FINE;
}

static enum check_verdict
load_certificate(struct check *c)
{
    char why[TEXT_MAX];

    if (c->o->cert_path == NULL)
        return CHECK_FINE;
    if (SSL_CTX_use_certificate_chain_file(c->ssl, c->o->cert_path) != 1) {
        unsigned long e = ERR_peek_error();

        if (ERR_GET_LIB(e) != ERR_LIB_X509 || ERR_GET_REASON(e) != X509_R_KEY_VALUES_MISMATCH)
            return blame(c, CHECK_CERTIFICATE, "give a PEM file with the certificate first",
                "%s cannot be used as a certificate: %s", c->o->cert_path, take_error(why));
    }
    if (SSL_CTX_check_private_key(c->ssl) != 1)
        return blame(c, CHECK_CERTIFICATE,
            "give the certificate that was issued for this key, or write the key file again",
            "the certificate %s is for another key than %s", c->o->cert_path, c->o->key_path);
    passed(c, "certificate", "%s is for this key", c->o->cert_path);
    return CHECK_FINE;
}

/* --- the signature -------------------------------------------------------------------------- */

/* P-256 public key in the context apart. */
static EVP_PKEY *
public_key_apart(const struct check *c, struct span point)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(c->apart, "EC", NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    EVP_PKEY *pkey = NULL;

    if (ctx != NULL && bld != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.ptr, point.len))
        params = OSSL_PARAM_BLD_to_param(bld);
    if (params != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static bool
verifies_apart(const struct check *c, struct span point, struct span text, struct span sig)
{
    EVP_PKEY *pkey = public_key_apart(c, point);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = pkey != NULL && ctx != NULL &&
              EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", c->apart, NULL, pkey, NULL) == 1 &&
              EVP_DigestVerify(ctx, sig.ptr, sig.len, text.ptr, text.len) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return ok;
}

/* The public key that would belong to the number in the file, were it a key. */
static bool
point_of_number(const struct refkey *ref, uint8_t out[REFKEY_POINT_LEN])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = group != NULL ? EC_POINT_new(group) : NULL;
    uint8_t scalar[REFKEY_SCALAR_LEN];
    BIGNUM *n;
    bool ok;

    refkey_scalar(scalar, ref);
    n = BN_bin2bn(scalar, sizeof scalar, NULL);
    ok = point != NULL && n != NULL && EC_POINT_mul(group, point, n, NULL, NULL, NULL) == 1 &&
         EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out, REFKEY_POINT_LEN,
             NULL) == REFKEY_POINT_LEN;
    BN_free(n);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return ok;
}

static enum check_verdict
blame_for_failed_signature(struct check *c)
{
    unsigned long e = ERR_peek_error();
    const char *library = ERR_lib_error_string(e);
    const char *ours = c->provider != NULL ? OSSL_PROVIDER_get0_name(c->provider) : PROV_NAME;
    char why[TEXT_MAX];

    if (library == NULL || strcmp(library, ours) != 0)
        return blame(
            c, CHECK_FAILED_OTHER, "see the reason", "signing failed: %s", take_error(why));
    switch (ERR_GET_REASON(e)) {
    case REASON_CHIP_ABSENT:
        return blame(
            c, CHECK_CHIP_ABSENT, "start a71chd, or correct A71CH_ADDRESS", "%s", take_error(why));
    case REASON_PERMISSION:
        return blame(c, CHECK_NO_PERMISSION,
            "let this user into the group of a71chd's socket or of the I2C device", "%s",
            take_error(why));
    case REASON_WRONG_SLOT:
        return blame(c, CHECK_WRONG_SLOT,
            "write the key file again with a71chConfig refpem, and get a certificate for the new "
            "key",
            "%s", take_error(why));
    case REASON_CHIP_REFUSED:
    case REASON_CHIP_ANSWER:
        return blame(c, CHECK_CHIP_REFUSED,
            "make or inject the key pair first: a71chConfig gen pair", "%s", take_error(why));
    default:
        return blame(
            c, CHECK_FAILED_OTHER, "see the reason", "signing failed: %s", take_error(why));
    }
}

static enum check_verdict
sign_and_verify(struct check *c)
{
    uint8_t text[32];
    uint8_t sig[128];
    uint8_t other[REFKEY_POINT_LEN];
    size_t len = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done;

    (void)RAND_bytes(text, sizeof text);
    ERR_clear_error();
    done = ctx != NULL &&
           EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, c->pkey, NULL) == 1 &&
           EVP_DigestSign(ctx, sig, &len, text, sizeof text) == 1;
    EVP_MD_CTX_free(ctx);
    if (!done)
        return blame_for_failed_signature(c);
    if (verifies_apart(c, SPAN(c->ref.point), SPAN(text), span_of(sig, len))) {
        passed(c, "signature", "made by the chip, verified with the public key of the file");
        return CHECK_FINE;
    }
    if (point_of_number(&c->ref, other) &&
        verifies_apart(c, SPAN(other), SPAN(text), span_of(sig, len)))
        return blame(c, CHECK_SIGNED_IN_SOFTWARE,
            "load the provider as " PROV_NAME ", listed after default, as a71chConfig openssl "
            "setup writes it",
            "OpenSSL signed in software with the number in the file, not in the chip");
    return blame(c, CHECK_WRONG_SLOT, "write the key file again with a71chConfig refpem",
        "the signature does not fit the public key in %s", c->o->key_path);
}

/* --- reasons that may bite elsewhere -------------------------------------------------------- */

/* Place of a name in a section of the configuration; -1: not there. */
static int
place_in(const STACK_OF(CONF_VALUE) * section, const char *name)
{
    for (int i = 0; i < sk_CONF_VALUE_num(section); i++) {
        if (strcmp(sk_CONF_VALUE_value(section, i)->name, name) == 0)
            return i;
    }
    return -1;
}

/* The configuration file's own order, which OpenSSL forgets when it sorts. */
static bool
listed_before_default(const struct check *c)
{
    CONF *conf = NCONF_new(NULL);
    bool before = false;
    const char *init = NULL;
    const char *list = NULL;

    if (conf != NULL && NCONF_load(conf, c->conf_path, NULL) == 1)
        init = NCONF_get_string(conf, NULL, "openssl_conf");
    if (init != NULL)
        list = NCONF_get_string(conf, init, "providers");
    if (list != NULL) {
        const STACK_OF(CONF_VALUE) *section = NCONF_get_section(conf, list);
        int ours = place_in(section, OSSL_PROVIDER_get0_name(c->provider));

        before = ours >= 0 && ours < place_in(section, "default");
    }
    NCONF_free(conf);
    ERR_clear_error();
    return before;
}

static enum check_verdict
judge_configuration(struct check *c)
{
    const char *warning = "";
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr(PROV_PARAM_WARNING, &warning, 0),
        OSSL_PARAM_END,
    };

    if (c->provider == NULL) {
        passed(c, "configuration", "the engine has no order that matters");
        return CHECK_FINE;
    }
    (void)OSSL_PROVIDER_get_params(c->provider, params);
    if (warning[0] != '\0')
        return blame(c, CHECK_CONFIGURATION,
            "correct the configuration, or write it anew with "
            "a71chConfig openssl setup",
            "it works here, but %s", warning);
    if (listed_before_default(c))
        return blame(c, CHECK_CONFIGURATION,
            "list default first, as a71chConfig openssl setup does",
            "it works here, but %s lists " PROV_NAME " before default: OpenSSL 3.5 then signs some "
            "things in software",
            c->conf_path);
    passed(c, "configuration", "name and order are right for every OpenSSL 3");
    return CHECK_FINE;
}

/* --- the program ---------------------------------------------------------------------------- */

static enum check_verdict
run(struct check *c)
{
    enum check_verdict (*const steps[])(struct check *) = { begin_like_a_program, find_provider,
        read_reference, load_key, load_certificate, sign_and_verify, judge_configuration };
    enum check_verdict v = CHECK_FINE;

    for (size_t i = 0; i < sizeof steps / sizeof *steps && v == CHECK_FINE; i++)
        v = steps[i](c);
    return v;
}

static void
report(const struct check *c, enum check_verdict v)
{
    if (c->o->json) {
        json_t *o =
            json_pack("{s:b,s:i,s:O}", "ok", v == CHECK_FINE, "exit", (int)v, "steps", c->steps);

        if (v != CHECK_FINE)
            (void)json_object_update_new(
                o, json_pack("{s:s,s:s}", "cause", c->cause, "cure", c->cure));
        (void)json_dumpf(o, c->o->out, JSON_INDENT(2));
        (void)fputc('\n', c->o->out);
        json_decref(o);
    } else if (v != CHECK_FINE) {
        (void)fflush(c->o->out);
        (void)fprintf(stderr, "%s; cure: %s\n", c->cause, c->cure);
    }
}

static void
note_configuration(struct check *c)
{
    const char *env = getenv("OPENSSL_CONF");
    char *standard = CONF_get1_default_config_file();

    (void)snprintf(c->conf_path, sizeof c->conf_path, "%s",
        env != NULL && env[0] != '\0' ? env
        : standard != NULL            ? standard
                                      : "the system's configuration");
    OPENSSL_free(standard);
}

enum check_verdict
openssl_check(const struct check_options *options)
{
    struct check c = { .o = options, .steps = json_array(), .apart = OSSL_LIB_CTX_new() };
    enum check_verdict v = CHECK_FAILED_OTHER;

    if (c.steps == NULL || c.apart == NULL) {
        (void)fputs("out of memory\n", stderr);
    } else {
        note_configuration(&c);
        v = run(&c);
        report(&c, v);
    }
    EVP_PKEY_free(c.pkey);
    SSL_CTX_free(c.ssl);
    OSSL_LIB_CTX_free(c.apart);
    json_decref(c.steps);
    return v;
}
