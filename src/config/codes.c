/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a command ended: exit codes with the vendor's words for them, and the host codes that stand
 * where the chip gave no status word. SPEC a71ch 7.5, 8.5.
 */
#include "config/tool.h"

#include <stdio.h>

/* What the vendor's library would have said where no status word came. SPEC a71ch 7.5. */
uint16_t
tool_host_code(const a71ch *chip, a71ch_result result)
{
    switch (result) {
    case A71CH_OK:
        return 0x9000;
    case A71CH_ERR_STATUS:
        return a71ch_status_word(chip);
    case A71CH_ERR_SELECT:
        /* SPEC a71ch 1.1: an absent applet is passed on, all else becomes one code */
        return a71ch_status_word(chip) == 0x6a82 ? 0x6a82 : HOST_SELECT_FAILED;
    case A71CH_ERR_CONNECT:
        return 0x0002; /* SPEC a71ch 8.4 */
    case A71CH_ERR_ADDRESS:
        return 0x0003;
    case A71CH_ERR_ARG:
    case A71CH_ERR_SPACE:
        return HOST_PARAMETER;
    case A71CH_ERR_IO:
    case A71CH_ERR_TIMEOUT:
    case A71CH_ERR_BUSY:
        return HOST_COMMUNICATION;
    case A71CH_ERR_RESPONSE:
        return HOST_WRONG_RESPONSE;
    case A71CH_ERR_MEMORY:
    case A71CH_ERR_FULL:
        return HOST_MEMORY;
    case A71CH_ERR_EXISTS:
        return HOST_EXISTS;
    case A71CH_ERR_FROZEN:
        return HOST_TABLE_LOCKED;
    case A71CH_ERR_NOT_FOUND:
    case A71CH_ERR_UNSUPPORTED:
        return HOST_PARAMETER;
    case A71CH_ERR_CHANNEL:
        return HOST_SCP_FAILED;
    case A71CH_ERR_CRYPTOGRAM:
        return HOST_SCP_CRYPTOGRAM;
    case A71CH_ERR_MAC:
        return HOST_SCP_MAC;
    case A71CH_ERR_PADDING:
        return HOST_SCP_PADDING;
    case A71CH_ERR_SESSION: /* the tool resumes none */
        break;
    }
    return HOST_WRONG_RESPONSE;
}

enum code
tool_done(struct tool *t, a71ch_result result)
{
    return result == A71CH_OK ? CODE_OK : tool_chip_failed(t, result);
}

enum code
tool_chip_failed(struct tool *t, a71ch_result result)
{
    t->sw = tool_host_code(t->chip, result);
    fprintf(stderr, "%s\n", a71ch_message(t->chip));
    return CODE_FAILED;
}

const char *
tool_code_text(enum code code)
{
    switch (code) {
    case CODE_OK:
        return "exec ok";
    case CODE_FAILED:
        return "exec failed";
    case CODE_SELECT:
        return "err select fails";
    case CODE_NOT_IMPLEMENTED:
        return "not implemented";
    case CODE_USAGE:
        return "check usage";
    case CODE_FILE_OPEN:
        return "file open failed";
    case CODE_PEM_READ:
        return "pemfile read failed";
    case CODE_PEM_WRITE:
        return "pemfile write failed";
    case CODE_CURVE:
        return "bit curve error";
    case CODE_MEMORY:
        return "dyn alloc error";
    case CODE_HALTED:
        return "exec halted";
    case CODE_FILE_FORMAT:
        return "file format error";
    case CODE_ARG_RANGE:
        return "arg range error";
    case CODE_ARG_OPTION:
        return "arg option error";
    case CODE_ARG_COUNT:
        return "arg count mistake";
    case CODE_ARG_VALUE:
        return "arg value error";
    case CODE_WRAP:
        return "wrap error";
    case CODE_NO_OBJECTS:
        return "enumeration no object found error";
    case CODE_NOT_FOUND:
        return "object at index not found error";
    case CODE_CERTIFICATE_WRITE:
        return "write certificate file error";
    case CODE_CERTIFICATE_ERASE:
        return "erase certificate file error";
    }
    return "unknown";
}
