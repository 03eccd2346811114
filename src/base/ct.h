/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks for the constant-time check: which bytes are secret, and where one becomes public.
 *
 * They are nothing in a normal build. A test that defines BM_CT_CHECK and runs under valgrind sees
 * every branch and every index that depends on secret bytes, because memcheck takes them for
 * uninitialised (tests/unit/test_ct.c). A CT_PUBLIC in the code says: from here on the protocol
 * itself tells the world this value.
 */
#ifndef BM_BASE_CT_H
#define BM_BASE_CT_H

#ifdef BM_CT_CHECK
#include <valgrind/memcheck.h>
#define CT_SECRET(ptr, len) ((void)VALGRIND_MAKE_MEM_UNDEFINED(ptr, len))
#define CT_PUBLIC(ptr, len) ((void)VALGRIND_MAKE_MEM_DEFINED(ptr, len))
#else
#define CT_SECRET(ptr, len) ((void)(ptr), (void)(len))
#define CT_PUBLIC(ptr, len) ((void)(ptr), (void)(len))
#endif

#endif
