/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and forked children use the PKCS #11 module at once, for scenario/pkcs11.sh; the module's
 * code is part of the program, so that ThreadSanitizer sees it. Each signature is made in a session
 * of its own and verified with the public key, over a digest that nobody else signs; meanwhile one
 * thread searches and reads attributes. The children are forked while the threads are at work.
 *
 * usage: p11_many THREADS CHILDREN SIGNATURES-OF-EACH      the chip is that of the environment
 */
#include "fork_first.h"

#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS_MAX = 64, SIG_LEN = 64 };

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

static CK_FUNCTION_LIST *p11;
static unsigned signatures; /* of each */
static atomic_uint at_work;
static atomic_uint good;
static atomic_bool over;

static bool
find_key(CK_SESSION_HANDLE s, CK_OBJECT_CLASS class, CK_OBJECT_HANDLE *key)
{
    CK_BYTE id = 0;
    CK_ATTRIBUTE list[] = { { CKA_CLASS, &class, sizeof class }, { CKA_ID, &id, 1 } };
    CK_ULONG count = 0;

    return p11->C_FindObjectsInit(s, list, 2) == CKR_OK &&
           p11->C_FindObjects(s, key, 1, &count) == CKR_OK &&
           p11->C_FindObjectsFinal(s) == CKR_OK && count == 1;
}

static bool
sign_and_verify(unsigned worker, unsigned number)
{
    CK_MECHANISM m = { CKM_ECDSA, NULL, 0 };
    CK_SESSION_HANDLE s;
    CK_OBJECT_HANDLE private;
    CK_OBJECT_HANDLE public;
    CK_BYTE digest[32] = { 1 };
    CK_BYTE sig[SIG_LEN];
    CK_ULONG len = SIG_LEN;

    memcpy(&digest[8], &worker, sizeof worker);
    memcpy(&digest[16], &number, sizeof number);
    return p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &s) == CKR_OK &&
           find_key(s, CKO_PRIVATE_KEY, &private) && find_key(s, CKO_PUBLIC_KEY, &public) &&
           p11->C_SignInit(s, &m, private) == CKR_OK &&
           p11->C_Sign(s, digest, sizeof digest, sig, &len) == CKR_OK &&
           p11->C_VerifyInit(s, &m, public) == CKR_OK &&
           p11->C_Verify(s, digest, sizeof digest, sig, len) == CKR_OK &&
           p11->C_CloseSession(s) == CKR_OK;
}

static void *
run_thread(void *arg)
{
    unsigned number = *(const unsigned *)arg;

    for (unsigned i = 0; i < signatures; i++) {
        if (sign_and_verify(number, i))
            (void)atomic_fetch_add(&good, 1);
        if (i == 0)
            (void)atomic_fetch_add(&at_work, 1);
    }
    return NULL;
}

static void *
look_around(void *arg)
{
    CK_SESSION_HANDLE s;

    (void)arg;
    if (p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &s) != CKR_OK)
        return NULL;
    while (!atomic_load(&over)) {
        CK_TOKEN_INFO token;
        CK_OBJECT_HANDLE key;
        CK_BYTE point[80];
        CK_ATTRIBUTE a = { CKA_EC_POINT, point, sizeof point };

        if (p11->C_GetTokenInfo(0, &token) != CKR_OK || !find_key(s, CKO_PUBLIC_KEY, &key) ||
            p11->C_GetAttributeValue(s, key, &a, 1) != CKR_OK)
            return NULL;
    }
    return s != 0 && p11->C_CloseSession(s) == CKR_OK ? &over : NULL;
}

static _Noreturn void
run_child(unsigned number)
{
    (void)alarm(120);
    if (p11->C_GetInfo(NULL) != CKR_CRYPTOKI_NOT_INITIALIZED || p11->C_Initialize(NULL) != CKR_OK)
        _exit(1);
    for (unsigned i = 0; i < signatures; i++) {
        if (!sign_and_verify(number, i))
            _exit(1);
    }
    _exit(p11->C_Finalize(NULL) == CKR_OK ? 0 : 1);
}

static bool
fork_children(pid_t *pids, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            return false;
        if (pids[i] == 0)
            run_child(first + i);
    }
    return true;
}

static unsigned
wait_for(const pid_t *pids, unsigned count)
{
    unsigned well = 0;

    for (unsigned i = 0; i < count; i++) {
        int status = 0;

        well += waitpid(pids[i], &status, 0) == pids[i] && status == 0;
    }
    return well;
}

static int
run(unsigned threads, unsigned children)
{
    pthread_t ids[WORKERS_MAX];
    pthread_t watcher;
    unsigned numbers[WORKERS_MAX];
    pid_t pids[WORKERS_MAX];
    void *watched = NULL;

    if (FORK_FIRST && !fork_children(pids, threads, children))
        return 1;
    if (pthread_create(&watcher, NULL, look_around, NULL) != 0)
        return 1;
    for (unsigned i = 0; i < threads; i++) {
        numbers[i] = i;
        if (pthread_create(&ids[i], NULL, run_thread, &numbers[i]) != 0)
            return 1;
    }
    while (atomic_load(&at_work) < threads)
        (void)usleep(1000);
    if (!FORK_FIRST && !fork_children(pids, threads, children))
        return 1;
    for (unsigned i = 0; i < threads; i++)
        (void)pthread_join(ids[i], NULL);
    atomic_store(&over, true);
    (void)pthread_join(watcher, &watched);
    (void)atomic_fetch_add(&good, wait_for(pids, children) * signatures);
    printf("%u good\n", atomic_load(&good));
    return watched != NULL && p11->C_Finalize(NULL) == CKR_OK ? 0 : 1;
}

int
main(int argc, char **argv)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    unsigned threads;
    unsigned children;

    if (argc != 4) {
        fprintf(stderr, "usage: p11_many THREADS CHILDREN SIGNATURES-OF-EACH\n");
        return 2;
    }
    threads = (unsigned)strtoul(argv[1], NULL, 10);
    children = (unsigned)strtoul(argv[2], NULL, 10);
    signatures = (unsigned)strtoul(argv[3], NULL, 10);
    if (threads > WORKERS_MAX || children > WORKERS_MAX || C_GetFunctionList(&p11) != CKR_OK ||
        p11->C_Initialize(&args) != CKR_OK)
        return 1;
    return run(threads, children);
}
