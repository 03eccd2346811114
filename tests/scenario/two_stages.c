/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two programs with one session, as a user of <a71ch.h> writes them: a boot loader that opens the
 * secure channel and leaves, and the system that goes on with it and never sees the keys.
 *
 * usage: two_stages boot ADDRESS FILE [clear]     connect, channel, count, leave the session in FILE
 *        two_stages system ADDRESS FILE [again]   resume it, count, read; again: leave it once more
 * Prints what it did; a failure's name and sentence, and exits with 1.
 */
#include <a71ch.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const a71ch_scp_keys keys = { { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 } };

static int
failed(const char *what, a71ch_result res, a71ch *chip)
{
    printf("%s: %s: %s\n", what, a71ch_result_name(res), a71ch_message(chip));
    a71ch_close(chip);
    return 1;
}

static int
leave(a71ch *chip, const char *path)
{
    uint8_t session[A71CH_SESSION_MAX];
    size_t len = sizeof session;
    a71ch_result res = a71ch_session_export(chip, session, &len);
    int fd;

    if (res != A71CH_OK)
        return failed("export", res, chip);
    a71ch_close(chip);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, session, len) != (ssize_t)len || close(fd) != 0) {
        perror(path);
        return 1;
    }
    printf("left %zu bytes\n", len);
    return 0;
}

static int
boot(const char *address, const char *path, int clear)
{
    a71ch *chip;
    a71ch_result res = a71ch_open(address, NULL, &chip);

    if (res == A71CH_OK && !clear) {
        res = a71ch_channel_open(chip, &keys, 0);
        if (res == A71CH_ERR_STATUS && a71ch_status_word(chip) == 0x6a88) { /* it has no keys */
            res = a71ch_scp_put_keys(chip, 1, &keys);
            if (res == A71CH_OK)
                res = a71ch_channel_open(chip, &keys, 0);
        }
    }
    if (res == A71CH_OK)
        res = a71ch_counter_increment(chip, 0);
    return res == A71CH_OK ? leave(chip, path) : failed("boot", res, chip);
}

static int
go_on(const char *address, const char *path, int again)
{
    uint8_t session[A71CH_SESSION_MAX];
    uint32_t count = 0;
    a71ch *chip;
    a71ch_result res;
    int fd = open(path, O_RDONLY);
    ssize_t len = fd >= 0 ? read(fd, session, sizeof session) : -1;

    if (len < 0 || close(fd) != 0) {
        perror(path);
        return 1;
    }
    res = a71ch_session_resume(address, NULL, session, (size_t)len, &chip);
    if (res == A71CH_OK)
        res = a71ch_counter_increment(chip, 0);
    if (res == A71CH_OK)
        res = a71ch_counter_get(chip, 0, &count);
    if (res != A71CH_OK)
        return failed("resume", res, chip);
    printf("channel %d count %u\n", (int)a71ch_channel_state(chip), (unsigned)count);
    if (again)
        return leave(chip, path);
    a71ch_close(chip);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc >= 4 && strcmp(argv[1], "boot") == 0)
        return boot(argv[2], argv[3], argc > 4);
    if (argc >= 4 && strcmp(argv[1], "system") == 0)
        return go_on(argv[2], argv[3], argc > 4);
    fputs("usage: two_stages boot|system ADDRESS FILE [clear|again]\n", stderr);
    return 2;
}
