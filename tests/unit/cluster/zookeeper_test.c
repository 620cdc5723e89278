/* What a ZooKeeper server of ours is set up with; that it runs so is seen in unit.common.coordination.zookeeper_faults.
 */
#include "cluster/zookeeper.h"

#include "tests/support/test.h"

#include <sys/stat.h>

/* ---- helpers ---- */

/* Three servers below the case's directory; the caller frees their directories. */
static void servers_make(const char *directory, struct ab_zookeeper_server servers[3])
{
    for (unsigned i = 0; i < 3; i++) {
        servers[i] = (struct ab_zookeeper_server){.directory = ab_new_format("%s/%u", directory, i + 1),
            .client_port = (uint16_t)(2181 + i),
            .peer_port = (uint16_t)(2281 + i),
            .election_port = (uint16_t)(2381 + i)};
    }
}

static void servers_delete(struct ab_zookeeper_server servers[3])
{
    for (size_t i = 0; i < 3; i++) {
        ab_delete((void *)servers[i].directory);
    }
}

static void check_file(const char *directory, const char *name, const char *const *parts, const char *const *absent)
{
    char *path = scratch_path(directory, name);
    struct ab_buffer text = {0};
    struct stat status;
    assert_ok(ab_file_read_all(path, &text, NULL));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    for (size_t i = 0; parts[i] != NULL; i++) {
        assert_non_null(strstr(ab_buffer_text(&text), parts[i]));
    }
    for (size_t i = 0; absent[i] != NULL; i++) {
        assert_null(strstr(ab_buffer_text(&text), absent[i]));
    }
    ab_buffer_fini(&text);
    ab_delete(path);
}

/* ---- cases ---- */

static void test_single_server_is_closed_and_durable(void **state)
{
    struct ab_zookeeper_server servers[3];
    servers_make(*state, servers);
    char *data_line = ab_new_format("dataDir=%s/data\n", servers[0].directory);
    assert_ok(ab_zookeeper_prepare(servers, 1, 0, NULL));
    const char *const parts[] = {data_line, "clientPortAddress=127.0.0.1\n", "clientPort=2181\n", "tickTime=250\n",
        "admin.enableServer=false\n", "4lw.commands.whitelist=\n", NULL};
    const char *const absent[] = {"forceSync", "skipACL", "server.", NULL};
    check_file(servers[0].directory, "zoo.cfg", parts, absent);
    char *myid = scratch_path(servers[0].directory, "data/myid");
    assert_false(ab_file_exists(myid));
    ab_delete(myid);
    ab_delete(data_line);
    servers_delete(servers);
}

static void test_servers_of_an_ensemble_know_each_other(void **state)
{
    static const char *const ids[] = {"1\n", "2\n", "3\n"};
    static const char *const none[] = {NULL};
    struct ab_zookeeper_server servers[3];
    servers_make(*state, servers);
    for (size_t i = 0; i < 3; i++) {
        assert_ok(ab_zookeeper_prepare(servers, 3, i, NULL));
        assert_ok(ab_zookeeper_prepare(servers, 3, i, NULL)); /* as at every start */
        const char *const parts[] = {
            "server.1=127.0.0.1:2281:2381\n", "server.2=127.0.0.1:2282:2382\n", "server.3=127.0.0.1:2283:2383\n", NULL};
        const char *const own[] = {ids[i], NULL};
        check_file(servers[i].directory, "zoo.cfg", parts, none);
        check_file(servers[i].directory, "data/myid", own, none);
    }
    char *address = ab_zookeeper_address(servers, 3, "/anabranch");
    assert_string_equal(address, "zookeeper:127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183/anabranch");
    ab_delete(address);
    servers_delete(servers);
}

static void test_what_cannot_be_an_ensemble_is_refused(void **state)
{
    struct ab_zookeeper_server servers[3];
    servers_make(*state, servers);
    assert_int_equal(ab_zookeeper_prepare(servers, 0, 0, NULL), AB_USAGE);
    assert_int_equal(ab_zookeeper_prepare(servers, 2, 0, NULL), AB_USAGE);
    assert_int_equal(ab_zookeeper_prepare(servers, 9, 0, NULL), AB_USAGE);
    assert_int_equal(ab_zookeeper_prepare(servers, 3, 3, NULL), AB_USAGE);
    struct ab_zookeeper_server other = servers[0];
    other.directory = "relative";
    assert_int_equal(ab_zookeeper_prepare(&other, 1, 0, NULL), AB_USAGE);
    other.directory = "/tmp/x\nforceSync=no";
    assert_int_equal(ab_zookeeper_prepare(&other, 1, 0, NULL), AB_USAGE);
    servers_delete(servers);
}

static void test_preparing_fails_with_any_call(void **state)
{
    struct ab_zookeeper_server servers[3];
    servers_make(*state, servers);
    bool was_hit = true;
    for (int countdown = 0; was_hit; countdown++) {
        ab_file_fault_set(countdown, 1, AB_NO_SPACE);
        ab_err err = ab_zookeeper_prepare(servers, 3, 0, NULL);
        was_hit = ab_file_fault_was_hit();
        ab_file_fault_clear();
        assert_true(was_hit ? err != AB_OK : err == AB_OK);
    }
    servers_delete(servers);
}

static void test_command_starts_the_server_of_a_directory(void **state)
{
    (void)state;
    char **command = ab_zookeeper_command("/some/where");
    size_t count = 0;
    while (command[count] != NULL) {
        count++;
    }
    assert_true(count > 3);
    assert_int_equal(command[0][0], '/');
    assert_string_equal(command[count - 2], "org.apache.zookeeper.server.quorum.QuorumPeerMain");
    assert_string_equal(command[count - 1], "/some/where/zoo.cfg");
    ab_zookeeper_command_free(command);
    ab_zookeeper_command_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_single_server_is_closed_and_durable, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_servers_of_an_ensemble_know_each_other, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_an_ensemble_is_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_preparing_fails_with_any_call, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_command_starts_the_server_of_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
