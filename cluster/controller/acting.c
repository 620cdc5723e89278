#include "cluster/controller/acting.h"

#include "cluster/controller/changes.h"
#include "common/crypto/crypto.h"

#include <inttypes.h>
#include <stdio.h>

void ab_acting_init(struct ab_acting *acting, const struct ab_acting_controller *own)
{
    *acting = (struct ab_acting){.own = *own};
}

void ab_acting_step_down(struct ab_acting *acting)
{
    acting->is_acting = false;
    acting->epoch_version = 0;
}

struct ab_coordination_op ab_acting_fence(uint64_t epoch_version)
{
    return (struct ab_coordination_op){
        .kind = AB_COORDINATION_CHECK, .path = AB_CONTROLLER_EPOCH_PATH, .version = epoch_version};
}

static struct ab_json *controller_encode(const struct ab_acting_controller *controller)
{
    char key[2 * AB_CRYPTO_KEY_BYTES + 1];
    char incarnation[33];
    ab_crypto_key_format(controller->public_key, key);
    ab_hash128_format(controller->incarnation, incarnation);
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "node", ab_json_integer(controller->node));
    ab_json_set(json, "address", ab_json_text(controller->address));
    ab_json_set(json, "key", ab_json_text(key));
    ab_json_set(json, "incarnation", ab_json_text(incarnation));
    return json;
}

static ab_err controller_decode(
    const struct ab_json *json, struct ab_acting_controller *controller, struct ab_error *error)
{
    struct ab_acting_controller made = {0};
    int64_t node = ab_json_integer_or(ab_json_get(json, "node"), 0);
    const char *address = ab_json_text_or(ab_json_get(json, "address"), "");
    bool is_right = node > 0 && node <= UINT32_MAX && address[0] != '\0' && strlen(address) < sizeof made.address &&
                    ab_crypto_key_parse(ab_json_bytes(ab_json_get(json, "key")), made.public_key) == AB_OK &&
                    ab_hash128_parse(ab_json_bytes(ab_json_get(json, "incarnation")), &made.incarnation) == AB_OK;
    if (!is_right) {
        return ab_error_set(error, AB_CORRUPT, "%s does not say which controller acts", AB_CONTROLLER_PATH);
    }
    made.node = (uint32_t)node;
    memcpy(made.address, address, strlen(address) + 1);
    *controller = made;
    return AB_OK;
}

/* The version of the counter, which is made when it is not there yet. */
static ab_err epoch_read(struct ab_coordination *coordination, uint64_t *version, struct ab_error *error)
{
    struct ab_coordination_stat stat = {0};
    AB_TRY(ab_coordination_ensure(coordination, AB_CONTROLLER_EPOCH_PATH, error));
    AB_TRY(ab_coordination_get(coordination, AB_CONTROLLER_EPOCH_PATH, NULL, &stat, error));
    *version = stat.version;
    return AB_OK;
}

/* Raises the counter and stands in /controller, or finds that somebody was faster (which is no error). */
static ab_err contest(struct ab_acting *acting, struct ab_coordination *coordination, struct ab_error *error)
{
    uint64_t version = 0;
    char count[24];
    AB_TRY(epoch_read(coordination, &version, error));
    (void)snprintf(count, sizeof count, "%" PRIu64, version + 1);
    struct ab_buffer text = {0};
    struct ab_json *json = controller_encode(&acting->own);
    ab_json_write(json, 0, &text);
    ab_json_destroy(json);
    const struct ab_coordination_op ops[] = {
        {.kind = AB_COORDINATION_SET,
            .path = AB_CONTROLLER_EPOCH_PATH,
            .value = ab_bytes_of_text(count),
            .version = version},
        {.kind = AB_COORDINATION_CREATE,
            .path = AB_CONTROLLER_PATH,
            .value = ab_buffer_view(&text),
            .is_ephemeral = true},
    };
    struct ab_error attempt = {0};
    ab_err err = ab_coordination_multi(coordination, ops, sizeof ops / sizeof ops[0], NULL, &attempt);
    ab_buffer_fini(&text);
    if (err == AB_OK || err == AB_CONFLICT || err == AB_EXISTS || err == AB_OUTCOME_UNKNOWN) {
        return AB_OK; /* who won is read */
    }
    return ab_error_set(error, err, "stand for the acting controller: %s", attempt.text);
}

/* Reads /controller; AB_NOT_FOUND when nobody acts. */
static ab_err current_read(
    struct ab_acting *acting, struct ab_coordination *coordination, bool *is_own, struct ab_error *error)
{
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat = {0};
    struct ab_json *json = NULL;
    ab_err err = ab_coordination_get(coordination, AB_CONTROLLER_PATH, &text, &stat, error);
    if (err == AB_OK && ab_json_parse(ab_buffer_view(&text), &json, error) != AB_OK) {
        err = ab_error_wrap(error, AB_CORRUPT, "coordination node %s", AB_CONTROLLER_PATH);
    }
    ab_buffer_fini(&text);
    if (err == AB_OK) {
        err = controller_decode(json, &acting->current, error);
    }
    ab_json_destroy(json);
    if (err == AB_OK) {
        *is_own = stat.is_own && ab_hash128_equal(acting->current.incarnation, acting->own.incarnation);
    }
    return err;
}

/* Begins to act. The counter is read between two looks at /controller that found it ours: nobody else can have raised
 * it in between, for that takes a /controller of his. */
static ab_err act(struct ab_acting *acting, struct ab_coordination *coordination, struct ab_error *error)
{
    uint64_t version = 0;
    bool is_own = false;
    AB_TRY(epoch_read(coordination, &version, error));
    AB_TRY(current_read(acting, coordination, &is_own, error));
    acting->is_acting = is_own;
    acting->epoch_version = is_own ? version : 0;
    return AB_OK;
}

static ab_err look(struct ab_acting *acting, struct ab_coordination *coordination, struct ab_error *error)
{
    bool is_own = false;
    struct ab_error absent = {0};
    ab_err err = current_read(acting, coordination, &is_own, &absent);
    if (err == AB_NOT_FOUND) {
        acting->current = (struct ab_acting_controller){0};
        ab_acting_step_down(acting);
        AB_TRY(contest(acting, coordination, error));
        absent = (struct ab_error){0};
        err = current_read(acting, coordination, &is_own, &absent);
    }
    if (err == AB_NOT_FOUND) {
        return AB_OK; /* gone again: the next look stands for it */
    }
    if (err != AB_OK) {
        return ab_error_set(error, err, "see which controller acts: %s", absent.text);
    }
    if (!is_own) {
        ab_acting_step_down(acting);
        return AB_OK;
    }
    return acting->is_acting ? AB_OK : act(acting, coordination, error);
}

ab_err ab_acting_look(struct ab_acting *acting, struct ab_coordination *coordination, struct ab_error *error)
{
    ab_err err = look(acting, coordination, error);
    if (err != AB_OK) {
        ab_acting_step_down(acting);
    }
    return err;
}
