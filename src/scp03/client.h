/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a secure channel as a state machine on bytes: whoever moves APDUs (liba71ch, a
 * daemon that holds one session for many) asks for the next command and hands in each answer.
 *
 *     scp03_client_begin -> INITIALIZE UPDATE -> scp03_client_prove -> EXTERNAL AUTHENTICATE ->
 *     scp03_client_finish; then for each command scp03_client_wrap, and scp03_client_unwrap.
 *
 * It never goes back to the clear by itself: a channel that was up and failed is SCP03_BROKEN, and
 * refuses to wrap, until it is begun anew or scp03_client_close says that the clear is meant.
 */
#ifndef BM_SCP03_CLIENT_H
#define BM_SCP03_CLIENT_H

#include "scp03/scp03.h"

enum scp03_state { SCP03_CLOSED, SCP03_UP, SCP03_BROKEN };

struct scp03_client {
    OSSL_LIB_CTX *lib; /* private: the process may configure a provider that needs this chip */
    struct scp03_aes aes;
    struct scp03_channel channel;
    uint8_t context[SCP03_CONTEXT_LEN];
    enum scp03_state state;
    bool strict; /* a refusal must have a MAC, too */
};

enum bm_err scp03_client_init(struct scp03_client *c, bool strict);
void scp03_client_fini(struct scp03_client *c); /* takes a zeroed one; wipes */

/* Append INITIALIZE UPDATE with a new challenge. A channel that was up is broken from here on. */
enum bm_err scp03_client_begin(struct scp03_client *c, struct wr *out);

/*
 * Judge the answer, with status word, and append EXTERNAL AUTHENTICATE. BM_ERR_STATUS: the chip
 * refused. BM_ERR_PROTO: wrong length. BM_ERR_DENIED: its cryptogram is wrong, it has other keys.
 */
enum bm_err scp03_client_prove(
    struct scp03_client *c, const struct scp03_keys *keys, struct span rsp, struct wr *out);

/* Judge the answer; SCP03_UP when BM_OK. BM_ERR_STATUS: refused. BM_ERR_PROTO: wrong length. */
enum bm_err scp03_client_finish(struct scp03_client *c, struct span rsp);

/*
 * Append the protected form of a command. BM_ERR_CONFLICT: the channel is not up. BM_ERR_ARG: more
 * than SCP03_DATA_MAX bytes of data, nothing happened. After BM_OK its answer, or its failure to
 * come, must go to scp03_client_unwrap before the next command.
 */
enum bm_err scp03_client_wrap(struct scp03_client *c, const struct apdu *cmd, struct wr *out);

/*
 * Append the plain form of an answer, data and status word. What has no MAC is taken only when it
 * is nothing but an error status word (64xx to 6Fxx) and the client is not strict: GlobalPlatform's
 * rule, SPEC 4.6 tolerates it. Such a word is not proved; 6982 among them says that the chip has
 * ended the channel. BM_ERR_DENIED: no MAC or a wrong one. BM_ERR_PROTO: right MAC, wrong padding.
 * After both, and after such a 6982, the channel is broken.
 */
enum bm_err scp03_client_unwrap(struct scp03_client *c, struct span rsp, struct wr *out);

/*
 * A channel that is up as bytes, all of them secret, and the channel they were again: session keys,
 * MAC chain, counter. Only one of the two may go on. Save: BM_ERR_CONFLICT, it is not up;
 * BM_ERR_SPACE. Load: takes SCP03_SAVED_LEN bytes; BM_ERR_INPUT, no channel that was up.
 */
enum { SCP03_SAVED_LEN = 3 * SCP03_KEY_LEN + SCP03_BLOCK_LEN + 8 + 1 };
enum bm_err scp03_client_save(const struct scp03_client *c, struct wr *out);
enum bm_err scp03_client_load(struct scp03_client *c, struct rd *in);

/* The channel is forgotten, here only; from now on the clear is meant. */
void scp03_client_close(struct scp03_client *c);

#endif
