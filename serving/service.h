/* service: a node that answers queries: a server, a bounded queue of requests, query threads.
 *
 * The network thread answers what costs nothing (ping, status) and queues the rest; a full queue is answered with
 * AB_FULL at once, never by growth (I8). Each query thread owns an executor.
 *
 * Threads: open and close by one; see the folder's README for the others. Memory: what the configuration gives to
 * serving.
 */
#ifndef ANABRANCH_SERVING_SERVICE_H
#define ANABRANCH_SERVING_SERVICE_H

#include "common/wire/node.h"

struct ab_service;

/* Starts to serve, and says where: in run/serving.json, and among several nodes to all others. The node is borrowed and
 * must outlive it. AB_UNAVAILABLE while there is no catalog; errors of the coordination service and of ab_server_open.
 */
AB_MUST_USE ab_err ab_service_open(const struct ab_node *node, struct ab_service **service, struct ab_error *error);

/* Answers what is queued and ends. NULL is legal. */
void ab_service_close(struct ab_service *service);

/* Where it answers; borrowed. */
const char *ab_service_address(const struct ab_service *service);

#endif
