/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real a71chd for unit tests of what stands above a socket. A71CHD is its path. Include it after
 * cmocka.h.
 */
#ifndef BM_TESTS_CHIP_DAEMON_H
#define BM_TESTS_CHIP_DAEMON_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Serve the chip in `dir`/chip at `address` ("unix:PATH"); returns when it is ready. */
static inline pid_t
chip_daemon_start(const char *dir, const char *address)
{
    char chip[96];
    char seen[256] = "";
    size_t len = 0;
    int out[2];
    pid_t pid;

    (void)snprintf(chip, sizeof chip, "%s/chip", dir);
    assert_int_equal(pipe(out), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* also when this program is killed */
        (void)dup2(out[1], STDOUT_FILENO);
        (void)close(out[0]);
        (void)close(out[1]);
        (void)execl(
            A71CHD, "a71chd", "--sim", chip, "--listen", address, "--log", "warn", (char *)NULL);
        _exit(127);
    }
    (void)close(out[1]);
    (void)alarm(60); /* a deadline for the whole program's waits */
    while (strstr(seen, "ready\n") == NULL) {
        ssize_t n = read(out[0], seen + len, sizeof seen - 1 - len);

        assert_true(n > 0);
        len += (size_t)n;
        seen[len] = '\0';
    }
    (void)close(out[0]);
    return pid;
}

static inline void
chip_daemon_stop(pid_t *pid)
{
    int status;

    if (*pid <= 0)
        return;
    (void)kill(*pid, SIGTERM);
    (void)waitpid(*pid, &status, 0);
    *pid = 0;
}

/* One figure of a71chd --stats. */
static inline long
chip_daemon_count(const char *address, const char *name)
{
    char command[256];
    char line[256] = "";
    char key[64];
    const char *at;
    FILE *f;

    (void)snprintf(command, sizeof command, A71CHD " --stats %s", address);
    f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_int_equal(pclose(f), 0);
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    at = strstr(line, key);
    assert_non_null(at);
    return strtol(at + strlen(key), NULL, 10);
}

#endif
