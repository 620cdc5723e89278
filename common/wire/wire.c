#include "common/wire/internal.h"

#include "common/base/random.h"

#include <zmq.h>

#include <stdio.h>

ab_err ab_wire_open(const struct ab_wire_options *options, struct ab_wire **wire, struct ab_error *error)
{
    struct ab_wire *made = ab_new(struct ab_wire);
    made->keys = options->keys;
    memcpy(made->cluster_id, options->cluster_id, sizeof made->cluster_id);
    snprintf(made->node, sizeof made->node, "%s", options->node);
    made->incarnation = ab_random_id();
    made->zap = ab_zap_create();
    made->context = zmq_ctx_new();
    ab_err err = AB_OK;
    if (made->context == NULL || zmq_has("curve") != 1) {
        err = ab_error_set(error, AB_UNSUPPORTED, "ZeroMQ: no context, or libzmq was built without CURVE");
        goto fail;
    }
    if (options->io_threads > 0) {
        zmq_ctx_set(made->context, ZMQ_IO_THREADS, options->io_threads);
    }
    ab_zap_allow(made->zap, options->peers, options->peers_count);
    if (options->peers_count > 0) {
        err = ab_zap_start(made->zap, made->context, error);
        if (err != AB_OK) {
            goto fail;
        }
    }
    *wire = made;
    return AB_OK;
fail:
    ab_wire_close(made);
    return err;
}

void ab_wire_close(struct ab_wire *wire)
{
    if (wire == NULL) {
        return;
    }
    if (wire->context != NULL) {
        zmq_ctx_shutdown(wire->context); /* ends the ZAP thread */
        ab_zap_join(wire->zap);
        while (zmq_ctx_term(wire->context) != 0 && zmq_errno() == EINTR) {
        }
    }
    ab_zap_destroy(wire->zap);
    explicit_bzero(&wire->keys, sizeof wire->keys);
    ab_delete(wire);
}

void ab_wire_allow(struct ab_wire *wire, const struct ab_wire_peer *peers, size_t peers_count)
{
    ab_zap_allow(wire->zap, peers, peers_count);
}
