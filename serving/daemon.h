/* daemon: the serving process: its command line, its signals, its service.
 *
 * Threads: run() is the main thread; see the folder's README for the others.
 */
#ifndef ANABRANCH_SERVING_DAEMON_H
#define ANABRANCH_SERVING_DAEMON_H

/* Runs `anabranch-serving` with its command line until SIGTERM, SIGINT or a shutdown request; returns the exit status.
 */
int ab_serving_run(int argc, char **argv);

#endif
