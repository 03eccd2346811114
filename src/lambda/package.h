/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deployment packages: read a zip that came from outside and put what it holds into a folder, or
 * refuse it whole. SPEC aws-iot 5.5.
 *
 * What is refused: names that leave the folder (absolute, `..`, a backslash), the same name
 * twice, a file that is also used as a folder, links that point out of the package, devices and
 * pipes, more than PACKAGE_ENTRIES_MAX entries, more than LAMBDA_UNZIPPED_MAX bytes counted while
 * they are unpacked (never by what a header says), encryption, a wrong CRC, a broken archive.
 *
 * Links are made last, so no name is ever resolved through one, and a link's target may have `..`
 * only at its head. From a link's folder, which is a real one, such a target climbs real folders
 * and then goes down, so by induction a chain of links stays inside as well.
 */
#ifndef BM_LAMBDA_PACKAGE_H
#define BM_LAMBDA_PACKAGE_H

#include "base/bytes.h"

enum { PACKAGE_ENTRIES_MAX = 20000, PACKAGE_NAME_MAX = 1024, PACKAGE_DEPTH_MAX = 64 };

/* Where the content goes. Called in this order: folders and files as the zip has them, then links.
 */
struct package_sink {
    void *arg;
    enum bm_err (*folder)(void *arg, const char *name, struct bm_msg *msg);
    enum bm_err (*file)(void *arg, const char *name, bool executable, struct bm_msg *msg);
    enum bm_err (*data)(void *arg, struct span data, struct bm_msg *msg); /* of the last file */
    enum bm_err (*link)(void *arg, const char *name, const char *target, struct bm_msg *msg);
};

/* BM_ERR_INPUT: the package, with the cause; or what the sink returned. */
enum bm_err package_read(struct span zip, const struct package_sink *sink, struct bm_msg *msg);

/* Unpack into the existing, empty folder `dir` and make it durable. */
enum bm_err package_unpack(struct span zip, const char *dir, struct bm_msg *msg);

/* May an entry have this name, may a link at `name` have this target? For tests. */
bool package_name_ok(const char *name);
bool package_target_ok(const char *name, const char *target);

#endif
