/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of packages and the code store: what comes out of a zip, what is refused and by which
 * words. */
#include "lambda/package.h"

#include "lambda_world.h"

static enum bm_err
unpack(struct world *w, const struct zip_file_in *files, size_t count, char out[128],
    struct bm_msg *msg)
{
    struct buf zip = { 0 };
    enum bm_err err;

    (void)snprintf(out, 128, "%s/unpacked", w->dir);
    assert_int_equal(dir_remove(out, NULL), BM_OK);
    assert_int_equal(mkdir(out, 0700), 0);
    zip_bytes(w, files, count, &zip);
    err = package_unpack(buf_span(&zip), out, msg);
    buf_fini(&zip);
    return err;
}

static mode_t
mode_of(const char *dir, const char *name)
{
    char path[256];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode;
}

static void
unpacking_keeps_executable_bits_and_drops_the_others(void **state)
{
    const struct zip_file_in files[] = {
        { "bootstrap", S_IFREG | 0755, "x" },
        { "lib/data", S_IFREG | 0644, "y" },
        { "lib/setuid", S_IFREG | 06755, "y" },
        { "./dotted", S_IFREG | 0600, "y" },
        { "lib/link", S_IFLNK | 0777, "../bootstrap" },
    };
    char dir[128];
    char path[256];
    struct bm_msg msg = { 0 };

    assert_int_equal(unpack(*state, files, 5, dir, &msg), BM_OK);
    assert_int_equal(mode_of(dir, "bootstrap"), S_IFREG | 0755);
    assert_int_equal(mode_of(dir, "lib/data"), S_IFREG | 0644);
    assert_int_equal(mode_of(dir, "lib/setuid"), S_IFREG | 0755);
    assert_int_equal(mode_of(dir, "dotted"), S_IFREG | 0644);
    assert_true(S_ISLNK(mode_of(dir, "lib/link")));
    (void)snprintf(path, sizeof path, "%s/lib/link", dir);
    assert_int_equal(access(path, X_OK), 0);
}

static void
bootstrap_packed_without_modes_becomes_executable(void **state)
{
    const struct zip_file_in files[] = { { "bootstrap", 0, "x" }, { "other", 0, "y" } };
    char dir[128];

    assert_int_equal(unpack(*state, files, 2, dir, NULL), BM_OK);
    assert_int_equal(mode_of(dir, "bootstrap"), S_IFREG | 0755);
    assert_int_equal(mode_of(dir, "other"), S_IFREG | 0644);
}

static void
what_would_leave_the_folder_is_refused_before_anything_is_written(void **state)
{
    static const struct zip_file_in bad[] = {
        { "../evil", S_IFREG | 0644, "x" },
        { "a/../../evil", S_IFREG | 0644, "x" },
        { "a/..", S_IFREG | 0644, "x" },
        { "/tmp/evil", S_IFREG | 0644, "x" },
        { "a//b", S_IFREG | 0644, "x" },
        { "..\\evil", S_IFREG | 0644, "x" },
        { "a\nb", S_IFREG | 0644, "x" },
        { "fifo", S_IFIFO | 0644, "" },
        { "device", S_IFCHR | 0644, "" },
        { "good/sub", S_IFREG | 0644, "a file is also used as a folder" },
    };
    char dir[128];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct zip_file_in files[] = { { "good", S_IFREG | 0644, "x" }, bad[i] };
        struct bm_msg msg = { 0 };

        if (unpack(*state, files, 2, dir, &msg) != BM_ERR_INPUT)
            fail_msg("accepted: %s", bad[i].name);
        assert_true(strlen(msg.text) > 20);
        assert_int_equal(count_files(dir), 0);
    }
}

static void
links_stay_inside(void **state)
{
    static const struct {
        const char *name;
        const char *target;
        bool good;
    } cases[] = {
        { "l", "a", true },
        { "d/l", "../a", true },
        { "d/e/l", "../../a", true },
        { "l", "d/a", true },
        { "l", "../a", false },
        { "d/l", "../../a", false },
        { "l", "/etc/passwd", false },
        { "l", "d/../a", false }, /* through another link this may climb too far */
        { "l", "..", false },
        { "l", "", false },
    };
    char dir[128];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct zip_file_in file = { cases[i].name, S_IFLNK | 0777, cases[i].target };
        enum bm_err err = unpack(*state, &file, 1, dir, NULL);

        if ((err == BM_OK) != cases[i].good)
            fail_msg("%s -> %s: %s", cases[i].name, cases[i].target, bm_err_name(err));
        assert_int_equal(package_target_ok(cases[i].name, cases[i].target), cases[i].good);
    }
}

static void
broken_archives_are_refused(void **state)
{
    static const char *const names[] = { "truncated", "bad-crc", "bad-stream", "size-lies", "empty",
        "not-a-zip", "twice", "file-as-folder", "link-then-file" };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct registry_function f = { .name = "f" };
        struct buf zip = { 0 };
        struct bm_msg msg = { 0 };
        char path[512];

        (void)snprintf(path, sizeof path, SOURCE_DIR "/tests/fuzz/corpus/zip/%s", names[i]);
        assert_int_equal(file_read(path, LAMBDA_ZIP_MAX, &zip, &msg), BM_OK);
        if (put_code(w, PYTHON, buf_span(&zip), &f, &msg) != BM_ERR_INPUT)
            fail_msg("accepted: %s", names[i]);
        buf_fini(&zip);
        registry_function_fini(&f);
        (void)snprintf(path, sizeof path, "%s/functions", w->dir);
        assert_int_equal(count_files(path), 2); /* scratch and log: nothing was left */
    }
}

static enum bm_err
ignore_name(void *arg, const char *name, struct bm_msg *msg)
{
    (void)arg;
    (void)name;
    (void)msg;
    return BM_OK;
}

static enum bm_err
ignore_file(void *arg, const char *name, bool executable, struct bm_msg *msg)
{
    (void)executable;
    return ignore_name(arg, name, msg);
}

static enum bm_err
count_data(void *arg, struct span data, struct bm_msg *msg)
{
    size_t *total = arg;

    (void)msg;
    *total += data.len;
    return BM_OK;
}

static enum bm_err
ignore_link(void *arg, const char *name, const char *target, struct bm_msg *msg)
{
    (void)target;
    return ignore_name(arg, name, msg);
}

/* Claims `size` for a stream of more than LAMBDA_UNZIPPED_MAX zeros. */
static void
bomb_is_stopped_by_what_comes_out_of_it(void **state)
{
    const struct zip_file_in file = { "zeros", S_IFREG | 0644, "" };
    size_t total = 0;
    const struct package_sink sink = { &total, ignore_name, ignore_file, count_data, ignore_link };
    struct buf zip = { 0 };
    struct bm_msg msg = { 0 };
    char path[128];
    zip_t *z;
    char *zeros = calloc(1, LAMBDA_UNZIPPED_MAX + 1);
    const uint8_t *central;

    assert_non_null(zeros);
    (void)snprintf(path, sizeof path, "%s/bomb.zip", ((struct world *)*state)->dir);
    zip_make(path, &file, 1);
    z = zip_open(path, 0, NULL);
    assert_non_null(z);
    assert_int_equal(
        zip_file_replace(z, 0, zip_source_buffer(z, zeros, LAMBDA_UNZIPPED_MAX + 1, 0), 0), 0);
    assert_int_equal(zip_set_file_compression(z, 0, ZIP_CM_DEFLATE, 1), 0);
    assert_int_equal(zip_close(z), 0);
    free(zeros);
    assert_int_equal(file_read(path, LAMBDA_ZIP_MAX, &zip, NULL), BM_OK);
    central = memmem(zip.ptr, zip.len, "PK\x01\x02", 4);
    assert_non_null(central);
    memset(&zip.ptr[(size_t)(central - zip.ptr) + 24], 1, 1); /* the header lies: a small size */
    memset(&zip.ptr[(size_t)(central - zip.ptr) + 25], 0, 3);
    assert_int_equal(package_read(buf_span(&zip), &sink, &msg), BM_ERR_INPUT);
    assert_true(total <= LAMBDA_UNZIPPED_MAX);
    buf_fini(&zip);
}

static void
too_many_entries_are_refused(void **state)
{
    struct world *w = *state;
    struct zip_file_in *files = calloc(PACKAGE_ENTRIES_MAX + 1, sizeof *files);
    char(*names)[16] = calloc(PACKAGE_ENTRIES_MAX + 1, sizeof *names);
    char dir[128];
    struct bm_msg msg = { 0 };

    assert_non_null(files);
    assert_non_null(names);
    for (size_t i = 0; i <= PACKAGE_ENTRIES_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "f%zu", i);
        files[i] = (struct zip_file_in){ names[i], S_IFREG | 0644, "" };
    }
    assert_int_equal(unpack(w, files, PACKAGE_ENTRIES_MAX + 1, dir, &msg), BM_ERR_INPUT);
    assert_contains(msg.text, "entries");
    free(files);
    free(names);
}

static void
configuration_and_package_must_fit(void **state)
{
    static const struct {
        const char *config;
        struct zip_file_in file;
        const char *says; /* NULL: accepted */
    } cases[] = {
        { PROVIDED, { "bootstrap", S_IFREG | 0755, "x" }, NULL },
        { PROVIDED, { "bootstrap", S_IFREG | 0644, "x" },
            "bootstrap is not executable; chmod +x before zip" },
        { PROVIDED, { "folder/bootstrap", S_IFREG | 0755, "x" }, "no file 'bootstrap'" },
        { PYTHON, { "f.py", S_IFREG | 0644, "x" }, NULL },
        { PYTHON, { "f/__init__.py", S_IFREG | 0644, "x" }, NULL },
        { PYTHON, { "folder/f.py", S_IFREG | 0644, "x" }, "needs a file f.py" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"a/b.c.handler\"}",
            { "a/b/c.py", S_IFREG | 0644, "x" }, NULL },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"handler\"}", { "f.py", S_IFREG | 0644, "x" },
            "module.function" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"../f.h\"}", { "f.py", S_IFREG | 0644, "x" },
            "does not name a file" },
        { "{\"Runtime\":\"ruby3.2\",\"Handler\":\"f.h\"}", { "f.py", S_IFREG | 0644, "x" },
            "'ruby3.2' is not built here: use provided" },
        { "{\"Runtime\":\"python3.11\"}", { "f.py", S_IFREG | 0644, "x" }, "mandatory" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"f.h\",\"Timeout\":901}",
            { "f.py", S_IFREG | 0644, "x" }, "Timeout must be" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"f.h\",\"MemorySize\":\"1\"}",
            { "f.py", S_IFREG | 0644, "x" }, "MemorySize must be" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"f.h\",\"Environment\":{\"Variables\":{"
          "\"AWS_REGION\":\"x\"}}}",
            { "f.py", S_IFREG | 0644, "x" }, "AWS_REGION is set by the service" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"f.h\",\"Environment\":{\"Variables\":{"
          "\"A=B\":\"x\"}}}",
            { "f.py", S_IFREG | 0644, "x" }, "environment variable 'A=B'" },
        { "[]", { "f.py", S_IFREG | 0644, "x" }, "not a JSON object" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct registry_function f = { .name = "f" };
        struct buf zip = { 0 };
        struct bm_msg msg = { 0 };
        enum bm_err err;

        zip_bytes(w, &cases[i].file, 1, &zip);
        err = put_code(w, cases[i].config, buf_span(&zip), &f, &msg);
        if (err != (cases[i].says == NULL ? BM_OK : BM_ERR_INPUT))
            fail_msg("case %zu: %s: %s", i, bm_err_name(err), msg.text);
        if (cases[i].says != NULL)
            assert_contains(msg.text, cases[i].says);
        buf_fini(&zip);
        registry_function_fini(&f);
    }
}

static void
every_runtime_of_the_table_is_taken(void **state)
{
    static const char *const names[] = { "provided", "provided.al2", "provided.al2023", "python3.7",
        "python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13",
        "nodejs18.x", "nodejs20.x", "nodejs22.x" };
    static const struct zip_file_in files[] = { { "bootstrap", S_IFREG | 0755, "x" },
        { "f.py", S_IFREG | 0644, "x" }, { "f.js", S_IFREG | 0644, "x" } };
    struct world *w = *state;
    struct buf zip = { 0 };

    zip_bytes(w, files, 3, &zip);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct registry_function f = { .name = "f" };
        struct bm_msg msg = { 0 };
        char config[100];

        (void)snprintf(
            config, sizeof config, "{\"Runtime\":\"%s\",\"Handler\":\"f.handler\"}", names[i]);
        if (put_code(w, config, buf_span(&zip), &f, &msg) != BM_OK)
            fail_msg("%s: %s", names[i], msg.text);
        registry_function_fini(&f);
    }
    buf_fini(&zip);
}

static void
changed_configuration_is_checked_against_the_stored_package(void **state)
{
    struct world *w = *state;
    struct registry_function f = { 0 };
    struct bm_msg msg = { 0 };

    create_python(w, "f", "def handler(e, c): pass\n");
    assert_int_equal(registry_function_get(w->registry, "f", &f, &msg), BM_OK);
    assert_int_equal(put_code(w, PYTHON, span_of(NULL, 0), &f, &msg), BM_OK);
    assert_int_equal(put_code(w, "{\"Runtime\":\"python3.11\",\"Handler\":\"other.handler\"}",
                         span_of(NULL, 0), &f, &msg),
        BM_ERR_INPUT);
    assert_contains(msg.text, "needs a file other.py");
    registry_function_fini(&f);
}

static void
opening_removes_packages_of_no_function_and_keeps_the_others(void **state)
{
    struct world *w = *state;
    struct registry_function f = { .name = "never-stored" };
    const struct zip_file_in file = { "bootstrap", S_IFREG | 0755, "never" };
    struct buf zip = { 0 };
    char path[128];

    create_shell(w, "kept", "kept");
    zip_bytes(w, &file, 1, &zip);
    assert_int_equal(put_code(w, PROVIDED, buf_span(&zip), &f, NULL), BM_OK);
    (void)snprintf(path, sizeof path, "%s/functions", w->dir);
    assert_int_equal(count_files(path), 2 + 4);
    world_down(w);
    world_up(w);
    assert_int_equal(count_files(path), 2 + 2);
    buf_fini(&zip);
    registry_function_fini(&f);
}

static void
unpacked_folder_is_made_again_from_the_zip(void **state)
{
    struct world *w = *state;
    struct registry_function f = { 0 };
    char hex[65];
    char path[256];

    create_shell(w, "f", SHELL_RUNTIME("echo yes"));
    assert_int_equal(registry_function_get(w->registry, "f", &f, NULL), BM_OK);
    hex_encode(hex, f.code_sha256, 32);
    (void)snprintf(path, sizeof path, "%s/functions/%s", w->dir, hex);
    assert_int_equal(dir_remove(path, NULL), BM_OK);
    assert_string_equal(invoke(w, "f", "{}"), "yes\n");
    registry_function_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(unpacking_keeps_executable_bits_and_drops_the_others),
        IN_WORLD(bootstrap_packed_without_modes_becomes_executable),
        IN_WORLD(what_would_leave_the_folder_is_refused_before_anything_is_written),
        IN_WORLD(links_stay_inside),
        IN_WORLD(broken_archives_are_refused),
        IN_WORLD(bomb_is_stopped_by_what_comes_out_of_it),
        IN_WORLD(too_many_entries_are_refused),
        IN_WORLD(configuration_and_package_must_fit),
        IN_WORLD(every_runtime_of_the_table_is_taken),
        IN_WORLD(changed_configuration_is_checked_against_the_stored_package),
        IN_WORLD(opening_removes_packages_of_no_function_and_keeps_the_others),
        IN_WORLD(unpacked_folder_is_made_again_from_the_zip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
