/* fault_shim: a library that is loaded in front of a node's programs (LD_PRELOAD) and makes its disk, its clock and its
 * wires faulty while a test says so.
 *
 *   ANABRANCH_FAULT_DIR    the folder of the node's faults; without it nothing is changed
 *   ANABRANCH_FAULT_ROOT   the node's directory: what lies below it, but for logs/ and run/, is the faulty disk
 *
 *   DIR/control   an array of FAULT_SLOTS 64-bit numbers, mapped by the test and by every program, by fault_slot
 *   DIR/undo      what a lying disk has not written: one line an operation, in their order
 *                   size PATH BYTES [KEPT]  PATH was this long; KEPT holds what was cut off
 *                   made PATH               a file that was not there
 *                   folder PATH             a folder that was not there
 *                   name FROM TO [KEPT]     FROM was called TO from then on, KEPT is a link to the TO of before
 *                   gone PATH KEPT          a file that was removed, KEPT is a link to it
 *                   rmdir PATH              a folder that was removed
 *                   sync PATH               a file or folder that is written, as it was then
 *                 A power cut is: the process dies, and these lines are undone, the last one first, but for what a
 *                 later sync made durable: of a file what it holds, of a folder which names are in it.
 *   DIR/links     lines "ADDRESS PORT ADDRESS PORT": connections to the first are made to the second
 *
 * Disk faults are met by anabranch-speed alone; clock and wires by every program of the node. A slot that counts is
 * taken down by one each time, so a test sees by it, and by FAULT_MET, what was really met.
 */
#ifndef ANABRANCH_TESTS_SUPPORT_FAULT_SHIM_H
#define ANABRANCH_TESTS_SUPPORT_FAULT_SHIM_H

enum { FAULT_SLOTS = 32 };

/* The numbers are known to tests/faults/disks.py too. */
enum fault_slot {
    FAULT_LYING = 0,         /* 1: syncs are acknowledged and do nothing, and undo grows; 2: undo grows, syncs too */
    FAULT_SYNC_DELAY_US = 1, /* a sync takes this much longer */
    FAULT_SYNC_ERRORS = 2,   /* counts: syncs of log segments end with EIO */
    FAULT_NO_SPACE = 3,      /* 1: nothing grows but what exists; 2: log segments alone do not */
    FAULT_READ_ONLY = 4,     /* 1: EROFS */
    FAULT_READ_ERRORS = 5,   /* counts: reads of log segments end with EIO */
    FAULT_WRITES_LOST = 6,   /* counts: writes to log segments are acknowledged and not done */
    FAULT_WRITES_ASTRAY = 7, /* counts: writes to log segments go to the place before */
    FAULT_WRITES_TORN = 8,   /* counts: a half of a write to a log segment, and the process is killed */
    FAULT_CLOCK_US = 9,      /* added to the wall clock */
    FAULT_NO_FILES = 10,     /* 1: no file, socket or connection is opened: EMFILE */
    FAULT_SYNCS = 16,        /* out: syncs of the disk so far */
    FAULT_MET = 17,          /* out: faults met so far */
};

#endif
