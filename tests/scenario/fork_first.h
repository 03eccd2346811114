/* SPDX-License-Identifier: Apache-2.0 */
/* FORK_FIRST: under ASan children are forked before threads work, since its allocator does not survive a fork beside busy ones. */
#ifndef BM_TESTS_FORK_FIRST_H
#define BM_TESTS_FORK_FIRST_H

#if defined __SANITIZE_ADDRESS__
#define FORK_FIRST 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define FORK_FIRST 1
#endif
#endif
#ifndef FORK_FIRST
#define FORK_FIRST 0
#endif

#endif
