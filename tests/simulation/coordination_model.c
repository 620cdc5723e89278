#include "tests/simulation/coordination_model.h"

#include "common/base/assert.h"
#include "common/base/map.h"
#include "common/coordination/tree.h"

#include <stdlib.h>

#define NONE SIZE_MAX

/* What a node was from a transaction on. */
struct record {
    uint64_t zxid;
    size_t previous;                  /* the same node's record before it; NONE for the first */
    char *path;                       /* owned */
    bool is_there;                    /* false: deleted by this transaction */
    bool is_list;                     /* created or deleted: changes the children of its parent */
    struct ab_bytes value;            /* owned */
    struct ab_coordination_stat stat; /* without is_own */
    uint64_t owner;
};

struct watch {
    char *path; /* owned */
    bool is_children;
};

struct session {
    uint64_t id;
    int64_t timeout_us;
    int64_t heard_us; /* servers */
    int64_t alive_us; /* client */
    bool is_connected;
    bool is_ended;    /* servers: expired or closed by ended_zxid */
    bool knows_ended; /* client */
    uint64_t ended_zxid;
    uint64_t connection; /* how often it has connected */
    uint64_t applied;    /* its last request that was */
    uint64_t seen;
    uint64_t revision;
    struct watch *watches; /* owned */
    size_t watches_count;
};

struct request {
    uint64_t session; /* id */
    uint64_t connection;
    int64_t sent_us;
    struct ab_coordination_op *ops; /* owned, with paths and values */
    size_t ops_count;
    bool is_applied;
    bool is_answered;
    struct coordination_model_outcome outcome;
};

struct coordination_model {
    struct record *records; /* owned; in the order of their zxids */
    size_t records_count;
    struct ab_map *newest; /* owned; path -> index of its last record */
    uint64_t zxid;
    struct session *sessions; /* owned; never shrinks */
    size_t sessions_count;
    struct request *requests; /* owned; never shrinks */
    size_t requests_count;
};

/* Room for one more at the end of an array whose capacity is the power of two above its count. */
static void *room_for_one(void *array, size_t count, size_t bytes)
{
    return (count & (count - 1)) == 0 ? ab_renew_bytes(array, (count == 0 ? 1 : 2 * count) * bytes) : array;
}

static struct ab_bytes bytes_copy(struct ab_bytes bytes)
{
    return ab_bytes_of(ab_new_text_of(bytes), bytes.bytes); /* with a NUL that nobody needs */
}

static struct session *session_of(const struct coordination_model *model, uint64_t id)
{
    AB_ASSERT(id >= 1 && id <= model->sessions_count);
    return &model->sessions[id - 1];
}

/* ---- records ---- */

/* A node's record as of a transaction; NULL when it is not there then. */
static const struct record *record_find(const struct coordination_model *model, const char *path, uint64_t zxid)
{
    uint64_t found = 0;
    if (!ab_map_get(model->newest, ab_bytes_of_text(path), &found)) {
        return NULL;
    }
    size_t at = (size_t)found;
    while (at != NONE && model->records[at].zxid > zxid) {
        at = model->records[at].previous;
    }
    return at != NONE && model->records[at].is_there ? &model->records[at] : NULL;
}

static void record_add(struct coordination_model *model, struct record record)
{
    struct ab_bytes path = ab_bytes_of_text(record.path);
    uint64_t previous = 0;
    record.previous = ab_map_get(model->newest, path, &previous) ? (size_t)previous : NONE;
    model->records = room_for_one(model->records, model->records_count, sizeof record);
    model->records[model->records_count] = record;
    AB_ASSERT(ab_map_set(model->newest, path, model->records_count) == AB_OK);
    model->records_count++;
}

static void record_fini(struct record *record)
{
    ab_delete(record->path);
    ab_delete((void *)record->value.data);
}

/* Takes back the last records of a transaction that failed. */
static void records_truncate(struct coordination_model *model, size_t count)
{
    while (model->records_count > count) {
        struct record *record = &model->records[--model->records_count];
        if (record->previous == NONE) {
            (void)ab_map_remove(model->newest, ab_bytes_of_text(record->path));
        } else {
            AB_ASSERT(ab_map_set(model->newest, ab_bytes_of_text(record->path), record->previous) == AB_OK);
        }
        record_fini(record);
    }
}

/* True when a path is directly below another. */
static bool is_child(const char *path, const char *parent)
{
    struct ab_bytes above = ab_tree_parent(ab_bytes_of_text(path));
    return ab_bytes_equal(above, ab_bytes_of_text(parent));
}

/* Calls for each child as of a transaction; returns how many, with names where they are wanted. */
static size_t children_find(const struct coordination_model *model, const char *path, uint64_t zxid, char **names)
{
    size_t count = 0;
    struct ab_bytes key = {0};
    uint64_t at = 0;
    for (size_t cursor = 0; ab_map_next(model->newest, &cursor, &key, &at);) {
        const char *child = model->records[at].path;
        if (is_child(child, path) && record_find(model, child, zxid) != NULL) {
            if (names != NULL) {
                names[count] = ab_new_text(strrchr(child, '/') + 1);
            }
            count++;
        }
    }
    return count;
}

/* ---- steps ---- */

static ab_err create_do(
    struct coordination_model *model, const struct ab_coordination_op *op, uint64_t owner, uint64_t zxid)
{
    if (record_find(model, op->path, zxid) != NULL) {
        return AB_EXISTS;
    }
    struct ab_bytes above = ab_tree_parent(ab_bytes_of_text(op->path));
    if (above.bytes > 1) {
        char *parent = ab_new_text_of(above);
        const struct record *record = record_find(model, parent, zxid);
        ab_delete(parent);
        if (record == NULL || record->owner != 0) {
            return record == NULL ? AB_NOT_FOUND : AB_USAGE;
        }
    }
    struct ab_coordination_stat stat = {
        .created_revision = zxid, .modified_revision = zxid, .is_ephemeral = op->is_ephemeral};
    record_add(model, (struct record){.zxid = zxid,
                          .path = ab_new_text(op->path),
                          .is_there = true,
                          .is_list = true,
                          .value = bytes_copy(op->value),
                          .stat = stat,
                          .owner = op->is_ephemeral ? owner : 0});
    return AB_OK;
}

static void delete_do(struct coordination_model *model, const char *path, uint64_t zxid)
{
    record_add(model, (struct record){.zxid = zxid, .path = ab_new_text(path), .is_list = true});
}

/* One step as part of the transaction `zxid`, whose earlier steps it sees. */
static ab_err op_do(
    struct coordination_model *model, const struct ab_coordination_op *op, uint64_t owner, uint64_t zxid)
{
    bool is_root = strcmp(op->path, "/") == 0;
    if (is_root && op->kind != AB_COORDINATION_CHECK) {
        return AB_USAGE;
    }
    if (op->kind == AB_COORDINATION_CREATE) {
        return create_do(model, op, owner, zxid);
    }
    const struct record *record = record_find(model, op->path, zxid);
    uint64_t version = record == NULL ? 0 : record->stat.version;
    if (record == NULL && !is_root) {
        return AB_NOT_FOUND;
    }
    if (op->version != AB_COORDINATION_ANY_VERSION && op->version != version) {
        return AB_CONFLICT;
    }
    if (op->kind == AB_COORDINATION_SET) {
        struct record next = *record;
        next.zxid = zxid;
        next.path = ab_new_text(op->path);
        next.is_list = false;
        next.value = bytes_copy(op->value);
        next.stat.version++;
        next.stat.modified_revision = zxid;
        record_add(model, next);
    } else if (op->kind == AB_COORDINATION_DELETE) {
        if (children_find(model, op->path, zxid, NULL) > 0) {
            return AB_EXISTS;
        }
        delete_do(model, op->path, zxid);
    }
    return AB_OK;
}

/* Frees the steps, once they are done or never will be. */
static void request_ops_delete(struct request *request)
{
    for (size_t i = 0; i < request->ops_count; i++) {
        ab_delete((void *)request->ops[i].path);
        ab_delete((void *)request->ops[i].value.data);
    }
    ab_delete(request->ops);
    request->ops = NULL;
    request->ops_count = 0;
}

static void multi_do(struct coordination_model *model, struct request *request)
{
    size_t records_before = model->records_count;
    uint64_t owner = request->session;
    for (size_t i = 0; i < request->ops_count && request->outcome.err == AB_OK; i++) {
        request->outcome.err = op_do(model, &request->ops[i], owner, model->zxid + 1);
        request->outcome.failed = i;
    }
    if (request->outcome.err != AB_OK) {
        records_truncate(model, records_before);
    }
    request->outcome.zxid = ++model->zxid; /* a failed one is a transaction too */
    request->is_applied = true;
    request_ops_delete(request);
}

/* ---- requests ---- */

static struct request *request_of(const struct coordination_model *model, uint64_t id)
{
    AB_ASSERT(id >= 1 && id <= model->requests_count);
    return &model->requests[id - 1];
}

ab_err coordination_model_submit(struct coordination_model *model, uint64_t id, const struct ab_coordination_op *ops,
    size_t ops_count, int64_t now_us, uint64_t *made)
{
    const struct session *session = session_of(model, id);
    if (!session->is_connected) {
        return session->knows_ended ? AB_CLOSED : AB_UNAVAILABLE;
    }
    struct request request = {.session = id,
        .connection = session->connection,
        .sent_us = now_us,
        .ops = ab_new_array(struct ab_coordination_op, ops_count + 1),
        .ops_count = ops_count};
    for (size_t i = 0; i < ops_count; i++) {
        request.ops[i] = ops[i];
        request.ops[i].path = ab_new_text(ops[i].path);
        request.ops[i].value = bytes_copy(ops[i].value);
    }
    model->requests = room_for_one(model->requests, model->requests_count, sizeof request);
    model->requests[model->requests_count++] = request;
    *made = model->requests_count;
    return AB_OK;
}

bool coordination_model_apply(struct coordination_model *model, uint64_t id, int64_t now_us)
{
    struct request *request = request_of(model, id);
    struct session *session = session_of(model, request->session);
    if (request->is_applied || session->is_ended || session->connection != request->connection) {
        return false;
    }
    AB_ASSERT(id > session->applied);
    session->applied = id;
    session->heard_us = now_us > session->heard_us ? now_us : session->heard_us;
    multi_do(model, request);
    return true;
}

ab_err coordination_model_answer(
    struct coordination_model *model, uint64_t id, struct coordination_model_outcome *outcome)
{
    struct request *request = request_of(model, id);
    if (request->is_answered) {
        return AB_NOT_FOUND;
    }
    struct session *session = session_of(model, request->session);
    bool is_lost = !session->is_connected || session->connection != request->connection;
    if (is_lost) {
        *outcome = (struct coordination_model_outcome){.err = AB_OUTCOME_UNKNOWN};
    } else if (!request->is_applied) {
        return AB_AGAIN;
    } else {
        (void)coordination_model_deliver(
            model, session->id, request->outcome.zxid); /* the news comes before the answer */
        session->alive_us = request->sent_us > session->alive_us ? request->sent_us : session->alive_us;
        *outcome = request->outcome;
    }
    request->is_answered = true;
    return AB_OK;
}

/* ---- sessions ---- */

uint64_t coordination_model_open(struct coordination_model *model, int64_t timeout_us, int64_t now_us)
{
    model->sessions = room_for_one(model->sessions, model->sessions_count, sizeof(struct session));
    model->sessions[model->sessions_count] = (struct session){.id = model->sessions_count + 1,
        .timeout_us = timeout_us,
        .heard_us = now_us,
        .alive_us = now_us,
        .is_connected = true,
        .seen = model->zxid};
    return ++model->sessions_count;
}

/* The servers end a session: one transaction, which takes its ephemeral nodes away. */
static void session_end(struct coordination_model *model, struct session *session)
{
    model->zxid++;
    for (size_t i = 0, until = model->records_count; i < until; i++) {
        const struct record *newest = record_find(model, model->records[i].path, model->zxid);
        if (newest != NULL && newest->owner == session->id) {
            delete_do(model, model->records[i].path, model->zxid);
        }
    }
    session->is_ended = true;
    session->ended_zxid = model->zxid;
}

void coordination_model_close(struct coordination_model *model, uint64_t id)
{
    struct session *session = session_of(model, id);
    if (!session->is_ended) {
        session_end(model, session);
    }
    session->is_connected = false;
    session->knows_ended = true;
}

void coordination_model_disconnect(struct coordination_model *model, uint64_t id)
{
    struct session *session = session_of(model, id);
    session->revision += session->is_connected;
    session->is_connected = false;
}

ab_err coordination_model_connect(struct coordination_model *model, uint64_t id, int64_t now_us)
{
    struct session *session = session_of(model, id);
    coordination_model_disconnect(model, id);
    session->connection++;
    session->revision++;
    session->knows_ended = session->knows_ended || session->is_ended;
    if (session->is_ended) {
        return AB_CLOSED;
    }
    session->is_connected = true;
    session->heard_us = now_us > session->heard_us ? now_us : session->heard_us;
    return AB_OK;
}

void coordination_model_ping(struct coordination_model *model, uint64_t id, int64_t sent_us, int64_t now_us)
{
    struct session *session = session_of(model, id);
    if (session->is_connected && !session->is_ended) {
        session->heard_us = now_us > session->heard_us ? now_us : session->heard_us;
        session->alive_us = sent_us > session->alive_us ? sent_us : session->alive_us;
    }
}

void coordination_model_state(
    const struct coordination_model *model, uint64_t id, struct ab_coordination_session_state *state)
{
    const struct session *session = session_of(model, id);
    *state = (struct ab_coordination_session_state){.state = session->knows_ended    ? AB_COORDINATION_EXPIRED
                                                             : session->is_connected ? AB_COORDINATION_CONNECTED
                                                                                     : AB_COORDINATION_SUSPENDED,
        .alive_us = session->alive_us,
        .timeout_us = session->timeout_us};
}

size_t coordination_model_tick(struct coordination_model *model, int64_t now_us)
{
    size_t expired = 0;
    for (size_t i = 0; i < model->sessions_count; i++) {
        struct session *session = &model->sessions[i];
        if (!session->is_ended && now_us - session->heard_us >= session->timeout_us) {
            session_end(model, session);
            expired++;
        }
    }
    return expired;
}

/* ---- watches ---- */

/* True when a transaction of (after, until] is one that the watch tells of. */
static bool watch_is_due(
    const struct coordination_model *model, const struct watch *watch, uint64_t after, uint64_t until)
{
    for (size_t i = model->records_count; i-- > 0 && model->records[i].zxid > after;) {
        const struct record *record = &model->records[i];
        if (record->zxid > until) {
            continue;
        }
        bool is_own = strcmp(record->path, watch->path) == 0;
        bool is_due = watch->is_children
                          ? (record->is_list && is_child(record->path, watch->path)) || (is_own && !record->is_there)
                          : is_own;
        if (is_due) {
            return true;
        }
    }
    return false;
}

uint64_t coordination_model_deliver(struct coordination_model *model, uint64_t id, uint64_t zxid)
{
    struct session *session = session_of(model, id);
    if (!session->is_connected || zxid <= session->seen) {
        return session->revision;
    }
    size_t kept = 0;
    for (size_t i = 0; i < session->watches_count; i++) {
        struct watch watch = session->watches[i];
        if (watch_is_due(model, &watch, session->seen, zxid)) {
            session->revision++;
            ab_delete(watch.path);
        } else {
            session->watches[kept++] = watch;
        }
    }
    session->watches_count = kept;
    session->seen = zxid;
    return session->revision;
}

static void watch_leave(struct session *session, const char *path, bool is_children)
{
    for (size_t i = 0; i < session->watches_count; i++) {
        if (session->watches[i].is_children == is_children && strcmp(session->watches[i].path, path) == 0) {
            return;
        }
    }
    size_t bytes = (session->watches_count + 1) * sizeof(struct watch);
    session->watches = ab_renew_bytes(session->watches, bytes);
    session->watches[session->watches_count++] = (struct watch){.path = ab_new_text(path), .is_children = is_children};
}

uint64_t coordination_model_revision(const struct coordination_model *model, uint64_t session)
{
    return session_of(model, session)->revision;
}

/* ---- reads ---- */

uint64_t coordination_model_zxid_newest(const struct coordination_model *model)
{
    return model->zxid;
}

uint64_t coordination_model_zxid_seen(const struct coordination_model *model, uint64_t session)
{
    return session_of(model, session)->seen;
}

uint64_t coordination_model_zxid_stale(
    const struct coordination_model *model, uint64_t session, struct ab_random *random)
{
    uint64_t seen = session_of(model, session)->seen;
    return seen + ab_random_below(random, model->zxid - seen + 1);
}

/* A server that has come to `zxid` takes a read, with the news before it. */
static ab_err read_begin(struct coordination_model *model, struct session *session, uint64_t zxid)
{
    AB_ASSERT(zxid >= session->seen && zxid <= model->zxid);
    if (!session->is_connected) {
        return session->knows_ended ? AB_CLOSED : AB_UNAVAILABLE;
    }
    if (session->is_ended && zxid >= session->ended_zxid) {
        coordination_model_disconnect(model, session->id);
        return AB_UNAVAILABLE;
    }
    (void)coordination_model_deliver(model, session->id, zxid);
    return AB_OK;
}

ab_err coordination_model_get(struct coordination_model *model, uint64_t id, const char *path, uint64_t zxid,
    struct ab_buffer *value, struct ab_coordination_stat *stat)
{
    struct session *session = session_of(model, id);
    AB_TRY(read_begin(model, session, zxid));
    watch_leave(session, path, false);
    const struct record *record = record_find(model, path, zxid);
    if (record == NULL && strcmp(path, "/") != 0) {
        return AB_NOT_FOUND;
    }
    if (value != NULL && record != NULL) {
        ab_buffer_put_bytes(value, record->value);
        AB_TRY(ab_buffer_finish(value));
    }
    if (stat != NULL) {
        *stat = record == NULL ? (struct ab_coordination_stat){0} : record->stat;
        stat->is_own = record != NULL && record->owner == id;
    }
    return AB_OK;
}

static int names_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

ab_err coordination_model_children(
    struct coordination_model *model, uint64_t id, const char *path, uint64_t zxid, char ***names, size_t *count)
{
    struct session *session = session_of(model, id);
    AB_TRY(read_begin(model, session, zxid));
    bool is_there = strcmp(path, "/") == 0 || record_find(model, path, zxid) != NULL;
    watch_leave(session, path, is_there); /* of a node that is not there, its coming is watched */
    if (!is_there) {
        return AB_NOT_FOUND;
    }
    *names = ab_new_array(char *, children_find(model, path, zxid, NULL) + 1);
    *count = children_find(model, path, zxid, *names);
    qsort(*names, *count, sizeof(**names), names_compare);
    return AB_OK;
}

/* ---- the model ---- */

struct coordination_model *coordination_model_create(void)
{
    struct coordination_model *model = ab_new(struct coordination_model);
    model->newest = ab_map_create(NULL);
    return model;
}

void coordination_model_destroy(struct coordination_model *model)
{
    for (size_t i = 0; i < model->sessions_count; i++) {
        for (size_t w = 0; w < model->sessions[i].watches_count; w++) {
            ab_delete(model->sessions[i].watches[w].path);
        }
        ab_delete(model->sessions[i].watches);
    }
    for (size_t i = 0; i < model->requests_count; i++) {
        request_ops_delete(&model->requests[i]);
    }
    for (size_t i = 0; i < model->records_count; i++) {
        record_fini(&model->records[i]);
    }
    ab_map_destroy(model->newest);
    ab_delete(model->records);
    ab_delete(model->sessions);
    ab_delete(model->requests);
    ab_delete(model);
}
