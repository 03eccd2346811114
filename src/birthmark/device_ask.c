/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who issues a device's next certificate: a shell command that reads the request on stdin and
 * prints PEM, or a web server that gets it by POST. See device.h.
 */
#include "birthmark/device.h"

#include "base/clock.h"
#include "base/file.h"
#include "device/renew.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- a command ---- */

/* All that comes from `fd` until its end. */
static enum bm_err
read_answer(int fd, int64_t until_ms, struct buf *answer, struct bm_msg *msg)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t left = until_ms - clock_mono_ms();
        uint8_t *room;
        ssize_t n;

        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return bm_fail(msg, BM_ERR_TIMEOUT, "the command of --renew-command takes too long");
        room = buf_reserve(answer, 4096);
        n = room != NULL ? read(fd, room, 4096) : 0;
        if (n > 0)
            answer->len += (size_t)n;
        if (answer->len > RENEW_ANSWER_MAX)
            return bm_fail(msg, BM_ERR_LIMIT,
                "the command of --renew-command prints more than %d bytes", RENEW_ANSWER_MAX);
        if (n == 0)
            return BM_OK;
        if (n < 0 && errno != EINTR)
            return bm_fail(msg, BM_ERR_IO, "--renew-command: %s", strerror(errno));
    }
}

/* In a process group of its own, so that all of it can be ended. */
static pid_t
spawn_shell(const char *line, int in, int out)
{
    char shell[] = "/bin/sh";
    char dash_c[] = "-c";
    char *copy = strdup(line);
    char *const argv[] = { shell, dash_c, copy, NULL };
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    pid_t pid = 0;

    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    (void)posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    (void)posix_spawnattr_init(&attr);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
    if (copy == NULL || posix_spawn(&pid, shell, &files, &attr, argv, environ) != 0)
        pid = 0;
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&files);
    free(copy);
    return pid;
}

enum bm_err
device_ask_command(const char *line, struct span request, int64_t timeout_ms, struct buf *answer,
    struct bm_msg *msg)
{
    int in = memfd_create("request.pem", MFD_CLOEXEC);
    int ends[2] = { -1, -1 };
    int status = 0;
    pid_t pid = 0;
    enum bm_err err = BM_OK;

    if (in < 0 || pipe2(ends, O_CLOEXEC) != 0 || fd_write_all(in, request) != BM_OK ||
        lseek(in, 0, SEEK_SET) != 0)
        err = bm_fail(msg, BM_ERR_IO, "--renew-command: %s", strerror(errno));
    if (err == BM_OK && (pid = spawn_shell(line, in, ends[1])) == 0)
        err = bm_fail(msg, BM_ERR_IO, "--renew-command: /bin/sh does not start");
    if (ends[1] >= 0)
        (void)close(ends[1]);
    if (err == BM_OK)
        err = read_answer(ends[0], clock_mono_ms() + timeout_ms, answer, msg);
    if (pid != 0 && err != BM_OK)
        (void)kill(-pid, SIGKILL);
    if (pid != 0 && waitpid(pid, &status, 0) == pid && err == BM_OK && status != 0)
        err = bm_fail(msg, BM_ERR_STATUS, "the command of --renew-command ended with status %d",
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    if (ends[0] >= 0)
        (void)close(ends[0]);
    if (in >= 0)
        (void)close(in);
    return err;
}

/* ---- a web server ---- */

static size_t
on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct buf *answer = arg;

    if (answer->len + size * count > RENEW_ANSWER_MAX)
        return 0;
    buf_add(answer, bytes, size * count);
    return answer->failed ? 0 : size * count;
}

/* The newest certificate proves to a server that demands one whose request it is; the chip signs. */
static CURLcode
on_tls(CURL *c, void *ctx, void *arg)
{
    const struct identity *id = arg;
    X509 *leaf = identity_leaf(id, 0);
    bool done =
        SSL_CTX_use_certificate(ctx, leaf) == 1 && SSL_CTX_use_PrivateKey(ctx, id->key) == 1;

    (void)c;
    for (size_t i = 0; done && i < id->chain.issuer_count; i++)
        done = SSL_CTX_add1_chain_cert(ctx, id->chain.issuers[i]) == 1;
    return done ? CURLE_OK : CURLE_SSL_CERTPROBLEM;
}

enum bm_err
device_ask_url(const struct device_options *o, const struct identity *id, struct span request,
    int64_t timeout_ms, struct buf *answer, struct bm_msg *msg)
{
    CURL *c = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/x-pem-file");
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURLcode rc;

    if (c == NULL || headers == NULL) {
        curl_slist_free_all(headers);
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a request");
    }
    (void)curl_easy_setopt(c, CURLOPT_URL, o->renew_url);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, (const char *)request.ptr);
    (void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)request.len);
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
    (void)curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    (void)curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, id);
    if (o->client.tls.ca_file != NULL)
        (void)curl_easy_setopt(c, CURLOPT_CAINFO, o->client.tls.ca_file);
    rc = curl_easy_perform(c);
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    if (rc != CURLE_OK)
        return bm_fail(msg, rc == CURLE_OPERATION_TIMEDOUT ? BM_ERR_TIMEOUT : BM_ERR_IO, "%s: %s",
            o->renew_url, why[0] != '\0' ? why : curl_easy_strerror(rc));
    return status == 200 || status == 201
               ? BM_OK
               : bm_fail(msg, BM_ERR_STATUS, "%s answers %ld: %.200s", o->renew_url, status,
                     buf_cstr(answer) != NULL ? buf_cstr(answer) : "");
}
