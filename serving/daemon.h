/* daemon: the serving process: a server, a bounded queue of requests, query threads.
 *
 * The network thread answers what costs nothing (ping, catalog, status) and queues queries; a full queue is answered
 * with AB_FULL at once, never by growth (I8). Each query thread owns an executor.
 *
 * Threads: run() is the main thread; see the folder's README for the others.
 */
#ifndef ANABRANCH_SERVING_DAEMON_H
#define ANABRANCH_SERVING_DAEMON_H

/* Runs `anabranch-serving` with its command line until SIGTERM, SIGINT or a shutdown request; returns the exit status.
 */
int ab_serving_run(int argc, char **argv);

#endif
