/* copy_frames: the kinds of frames of copy.h, for its two ends. */
#ifndef ANABRANCH_BATCH_COPY_FRAMES_H
#define ANABRANCH_BATCH_COPY_FRAMES_H

enum ab_copy_frame {
    AB_COPY_FILE = 1,
    AB_COPY_DATA = 2,
    AB_COPY_FILE_END = 3,
    AB_COPY_DONE = 4,
    AB_COPY_GIVEN_UP = 5,
};

#endif
