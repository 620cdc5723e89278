#include "cluster/zookeeper.h"

#include "common/base/buffer.h"
#include "common/base/file.h"

/* Where Debian's packages put them. */
#define JAVA "/usr/bin/java"
#define SERVER_JAR "/usr/share/java/zookeeper.jar"
#define LOG_JAR "/usr/share/java/slf4j-simple.jar"

/* The unit of all of ZooKeeper's times: sessions last 4 to 240 ticks and end on one, a follower may be 10 behind, and
 * has 40 to begin. */
#define TICK_MS 250u

ab_err ab_zookeeper_check(struct ab_error *error)
{
    if (!ab_file_exists(JAVA)) {
        return ab_error_set(error, AB_UNSUPPORTED,
            "zookeeper: no %s: install the package default-jre-headless (cluster/install-packages --cluster)", JAVA);
    }
    if (!ab_file_exists(SERVER_JAR)) {
        return ab_error_set(error, AB_UNSUPPORTED,
            "zookeeper: no %s: install the package libzookeeper-java (cluster/install-packages --cluster)", SERVER_JAR);
    }
    return AB_OK;
}

static void config_write(
    struct ab_buffer *config, const struct ab_zookeeper_server *servers, size_t servers_count, size_t index)
{
    ab_buffer_put_format(config, "# Written anew at every start.\n");
    ab_buffer_put_format(config, "dataDir=%s/data\n", servers[index].directory);
    ab_buffer_put_format(config, "clientPortAddress=127.0.0.1\nclientPort=%u\n", servers[index].client_port);
    ab_buffer_put_format(config, "tickTime=%u\ninitLimit=40\nsyncLimit=10\n", TICK_MS);
    ab_buffer_put_format(config, "minSessionTimeout=%u\nmaxSessionTimeout=%u\n", 4 * TICK_MS, 240 * TICK_MS);
    ab_buffer_put_format(config, "maxClientCnxns=0\n");
    ab_buffer_put_format(config, "autopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n");
    ab_buffer_put_format(config, "admin.enableServer=false\n4lw.commands.whitelist=\n");
    if (servers_count == 1) {
        return;
    }
    for (size_t i = 0; i < servers_count; i++) {
        ab_buffer_put_format(
            config, "server.%zu=127.0.0.1:%u:%u\n", i + 1, servers[i].peer_port, servers[i].election_port);
    }
}

static ab_err myid_write(const char *data, size_t index, struct ab_error *error)
{
    char *path = ab_new_format("%s/myid", data);
    char *text = ab_new_format("%zu\n", index + 1);
    ab_err err = ab_file_replace(path, ab_bytes_of_text(text), 0600, error);
    ab_delete(text);
    ab_delete(path);
    return err;
}

ab_err ab_zookeeper_prepare(
    const struct ab_zookeeper_server *servers, size_t servers_count, size_t index, struct ab_error *error)
{
    bool is_odd = servers_count % 2 == 1;
    if (!is_odd || servers_count > AB_ZOOKEEPER_SERVERS_MAX || index >= servers_count) {
        return ab_error_set(error, AB_USAGE, "zookeeper: an ensemble has 1, 3, 5 or 7 servers, not %zu", servers_count);
    }
    const char *directory = servers[index].directory;
    if (directory[0] != '/' || strpbrk(directory, "\n\r\\") != NULL) {
        return ab_error_set(error, AB_USAGE, "zookeeper: the directory \"%s\" must be absolute, without \\", directory);
    }
    char *data = ab_new_format("%s/data", directory);
    char *path = ab_new_format("%s/zoo.cfg", directory);
    struct ab_buffer config = {0};
    config_write(&config, servers, servers_count, index);
    ab_err err = ab_file_make_directory(data, 0700, error);
    if (err == AB_OK) {
        err = ab_file_replace(path, ab_buffer_view(&config), 0600, error);
    }
    if (err == AB_OK && servers_count > 1) {
        err = myid_write(data, index, error);
    }
    ab_buffer_fini(&config);
    ab_delete(path);
    ab_delete(data);
    return err;
}

char **ab_zookeeper_command(const char *directory)
{
    /* A few dozen megabytes serve a tree of facts; its log goes to standard error, from warnings on. */
    const char *const fixed[] = {JAVA, "-Xms32m", "-Xmx128m", "-Xss256k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dzookeeper.jmx.log4j.disable=true", "-cp",
        SERVER_JAR ":" LOG_JAR, "org.apache.zookeeper.server.quorum.QuorumPeerMain"};
    size_t count = sizeof fixed / sizeof fixed[0];
    char **command = ab_new_array(char *, count + 2);
    for (size_t i = 0; i < count; i++) {
        command[i] = ab_new_text(fixed[i]);
    }
    command[count] = ab_new_format("%s/zoo.cfg", directory);
    return command;
}

void ab_zookeeper_command_free(char **command)
{
    for (size_t i = 0; command != NULL && command[i] != NULL; i++) {
        ab_delete(command[i]);
    }
    ab_delete(command);
}

char *ab_zookeeper_address(const struct ab_zookeeper_server *servers, size_t servers_count, const char *chroot)
{
    struct ab_buffer address = {0};
    ab_buffer_put_format(&address, "zookeeper:");
    for (size_t i = 0; i < servers_count; i++) {
        ab_buffer_put_format(&address, "%s127.0.0.1:%u", i == 0 ? "" : ",", servers[i].client_port);
    }
    ab_buffer_put_format(&address, "%s", chroot);
    char *text = ab_new_text(ab_buffer_text(&address));
    ab_buffer_fini(&address);
    return text;
}
